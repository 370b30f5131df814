// What both pages share: texts, theme, the API key, and how the server is asked.
import { WORDS } from "./words.js";

export const $ = (id) => document.getElementById(id);

/** Make an element: make("li", { class: "row", text: "cat" }, child, …). Text is never parsed as HTML. */
export function make(name, { text, ...attributes } = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    element.append(...children);
    return element;
}

const store = (kind) => ({
    get: (name) => {
        try {
            return window[kind].getItem(name);
        } catch {
            return null; // switched off by the reader
        }
    },
    set: (name, value) => {
        try {
            window[kind].setItem(name, value);
        } catch {
            // It is then forgotten with the page.
        }
    },
});
const remembered = store("localStorage");
const thisTab = store("sessionStorage");

// ---- language

export const language = () => (document.documentElement.lang.startsWith("zh") ? "zh" : "en");
const whenTranslated = [];

/** A text in the reader's language, or the key where there is none; `{n}` in it is replaced by `values.n`. */
export function say(key, values = {}) {
    return (WORDS[language()][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Call `paint` now and after each change of language. */
export function translated(paint) {
    whenTranslated.push(paint);
    paint();
}

function translate() {
    for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
    for (const element of document.querySelectorAll("[data-t-label]"))
        element.setAttribute("aria-label", say(element.dataset.tLabel));
    const other = language() === "zh" ? ["EN", "en", "Switch to English"] : ["中文", "zh-CN", "切换到中文"];
    [$("language").textContent, $("language").lang] = other;
    $("language").setAttribute("aria-label", other[2]);
    paintTheme();
    for (const paint of whenTranslated) paint();
    document.documentElement.classList.remove("untranslated");
}

export const number = (value, digits = 1) =>
    new Intl.NumberFormat(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

/** 0.973 → 97.3 %, and what would read 0.0 % → < 0.1 %. */
export function percent(share, digits = 1) {
    if (!Number.isFinite(share)) return "–"; // NaN is null in JSON
    const least = 10 ** -digits;
    if (share > 0 && share * 100 < least / 2) return `< ${number(least, digits)} %`;
    if (share < 1 && share * 100 > 100 - least / 2) return `> ${number(100 - least, digits)} %`;
    return `${number(share * 100, digits)} %`;
}

// ---- theme

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

function paintTheme() {
    $("theme").dataset.shows = isDark() ? "sun" : "moon";
    $("theme").setAttribute("aria-label", say(isDark() ? "light" : "dark"));
}

// ---- the server

/** The server could not be reached. */
export class Unreachable extends Error {}

/** The server refused: `status`, and the `detail` of its problem body where there was one. */
export class Refused extends Error {
    constructor(status, detail) {
        super(detail || `status ${status}`);
        this.status = status;
        this.detail = detail;
    }
}

let asking = null; // the dialog that is open: a promise of whether a key was given
let declined = false;

function askForKey(wasWrong) {
    asking ??= new Promise((resolve) => {
        const [dialog, hint] = [$("key-dialog"), $("key-hint")];
        hint.dataset.t = wasWrong ? "key_wrong" : "key_hint";
        hint.textContent = say(hint.dataset.t);
        $("key").value = "";
        dialog.returnValue = "";
        dialog.addEventListener(
            "close",
            () => {
                asking = null;
                const key = dialog.returnValue === "given" ? $("key").value.trim() : "";
                $("key").value = "";
                declined = !key;
                if (key) thisTab.set("page.key", key);
                resolve(Boolean(key));
            },
            { once: true },
        );
        dialog.showModal();
    });
    return asking;
}

/**
 * Ask the server; the key goes along where one was given, and is asked for when the server wants one.
 * `quietly`: a reader who has closed the key's dialog isn't asked again. Throws Unreachable; a status isn't looked at.
 */
export async function ask(address, { quietly = false, timeout = 30000, signal, ...options } = {}) {
    for (;;) {
        const used = thisTab.get("page.key");
        const headers = new Headers(options.headers);
        if (used) headers.set("authorization", `Bearer ${used}`);
        const signals = [AbortSignal.timeout(timeout), ...(signal ? [signal] : [])];
        let response;
        try {
            response = await fetch(address, { ...options, headers, signal: AbortSignal.any(signals) });
        } catch (error) {
            if (signal?.aborted) throw error;
            throw new Unreachable(String(error));
        }
        if (response.status !== 401) return response;
        const changed = thisTab.get("page.key") !== used;
        if (changed) continue;
        if ((quietly && declined) || !(await askForKey(Boolean(used)))) return response;
    }
}

/** The answer's JSON; throws Refused with the problem's `detail` where the status says no. */
export async function askJson(address, options) {
    const response = await ask(address, options);
    const text = await response.text().catch((error) => {
        throw new Unreachable(String(error));
    });
    let body = null;
    try {
        body = JSON.parse(text);
    } catch {
        if (response.ok) throw new Refused(response.status, text.slice(0, 300));
    }
    if (!response.ok) throw new Refused(response.status, body?.detail ?? "");
    return body;
}

// ---- start

export function startFrame() {
    $("language").addEventListener("click", () => {
        const next = language() === "zh" ? "en" : "zh";
        document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
        remembered.set("page.language", next);
        translate();
    });
    $("theme").addEventListener("click", () => {
        const next = isDark() ? "light" : "dark";
        document.documentElement.dataset.theme = next;
        remembered.set("page.theme", next);
        paintTheme();
    });
    prefersDark.addEventListener("change", paintTheme);
    $("key-form").addEventListener("submit", (event) => {
        event.preventDefault();
        $("key-dialog").close("given");
    });
    $("key-cancel").addEventListener("click", () => $("key-dialog").close());
    translate();
}
