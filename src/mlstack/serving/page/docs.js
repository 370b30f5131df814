// The page at /docs: /openapi.json as a list of addresses, each with a command to copy and a form to try it.
import { $, askJson, make, say, startFrame, translated } from "./frame.js";
import { attempt } from "./try.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
let description = {};

/** What a `$ref` inside the description stands for. */
export function resolve(value) {
    if (!value?.$ref) return value;
    return value.$ref
        .slice(2)
        .split("/")
        .reduce((at, part) => at[part.replaceAll("~1", "/").replaceAll("~0", "~")], description);
}

/** A text whose words follow the language. */
export function word(name, key, attributes = {}) {
    return make(name, { ...attributes, "data-t": key, text: say(key) });
}

/** Paragraphs of a description; `code` between backticks. */
function prose(text = "") {
    const paragraphs = text.split(/\n\s*\n/).filter((paragraph) => paragraph.trim());
    return paragraphs.map((paragraph) => {
        const pieces = paragraph.split("`").map((piece, place) => (place % 2 ? make("code", { text: piece }) : piece));
        return make("p", {}, ...pieces);
    });
}

function codeWithCopy(text, key) {
    const button = word("button", "copy", { type: "button", class: "copy" });
    const code = make("pre", { tabindex: "0" }, make("code", { text }));
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            getSelection().selectAllChildren(code); // no clipboard without https: the text is selected instead
            document.execCommand("copy");
        }
        button.textContent = say("copied");
        setTimeout(() => (button.textContent = say("copy")), 1500);
    });
    const head = make("div", { class: "line" }, word("h4", key), button);
    return make("div", { class: "code" }, head, code);
}

/** A command with this server's own address at `{url}`. */
function here(command) {
    return command.replaceAll("{url}", new URL(".", document.baseURI).href.replace(/\/$/, ""));
}

function table(rows, caption) {
    const lines = rows.map((cells) =>
        make(
            "tr",
            {},
            ...cells.map((cell, place) => make(place ? "td" : "th", place ? {} : { scope: "row" }, ...[cell].flat())),
        ),
    );
    return make(
        "div",
        { class: "part" },
        word("h4", caption),
        make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...lines))),
    );
}

function parametersOf(operation, shared) {
    return [...(shared ?? []), ...(operation.parameters ?? [])].map(resolve);
}

function parameterRow(parameter) {
    const kind = [parameter.in, resolve(parameter.schema)?.type].filter(Boolean).join(", ");
    const need = word("span", parameter.required ? "required" : "optional", { class: "label" });
    return [
        make("code", { text: parameter.name }),
        [make("span", { class: "label", text: `${kind} · ` }), need],
        prose(parameter.description),
    ];
}

function responseRow([status, response]) {
    const found = resolve(response);
    const kinds = Object.keys(found.content ?? {}).join(", ");
    return [make("code", { text: status }), prose(found.description), make("span", { class: "label", text: kinds })];
}

function route(method, path, operation, shared) {
    const title = make(
        "summary",
        {},
        make("span", { class: `method ${method}`, text: method.toUpperCase() }),
        make("code", { text: path }),
        make("span", { class: "label", text: operation.summary ?? "" }),
    );
    const details = make("details", { class: "route", id: operation.operationId ?? `${method}${path}` }, title);
    details.addEventListener(
        "toggle",
        () =>
            details.open && details.childElementCount === 1 && details.append(inside(method, path, operation, shared)),
    );
    return details;
}

/** Built when it is opened for the first time: fifty forms at once would make the page slow. */
function inside(method, path, operation, shared) {
    const parameters = parametersOf(operation, shared);
    const body = make("div", { class: "inside" }, ...prose(operation.description));
    if (parameters.length) body.append(table(parameters.map(parameterRow), "parameters"));
    const plain = method === "get" ? [`curl {url}${path}`] : [];
    for (const command of [operation["x-curl"] ?? plain].flat()) body.append(codeWithCopy(here(command), "curl"));
    body.append(attempt({ method, path, parameters, content: resolve(operation.requestBody)?.content ?? {} }));
    body.append(table(Object.entries(operation.responses ?? {}).map(responseRow), "responses"));
    return body;
}

function paint() {
    const groups = new Map((description.tags ?? []).map((tag) => [tag.name, { about: tag.description, routes: [] }]));
    for (const [path, item] of Object.entries(description.paths)) {
        for (const method of METHODS.filter((one) => item[one])) {
            const tag = item[method].tags?.[0] ?? "";
            if (!groups.has(tag)) groups.set(tag, { routes: [] });
            groups.get(tag).routes.push(route(method, path, item[method], item.parameters));
        }
    }
    const sections = [...groups].filter(([, { routes }]) => routes.length);
    $("routes").replaceChildren(
        ...sections.map(([name, { about, routes }]) =>
            make("section", {}, make("h2", { text: name }), ...prose(about), ...routes),
        ),
    );
    const { title = "", version = "" } = description.info ?? {};
    $("about").textContent = [title, version, `OpenAPI ${description.openapi}`].filter(Boolean).join(" · ");
}

/** An address such as docs#predict opens that route. */
function openNamed() {
    const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (named?.tagName !== "DETAILS") return;
    named.open = true;
    named.scrollIntoView();
}

startFrame();
addEventListener("hashchange", openNamed);
try {
    description = await askJson("openapi.json");
    paint();
    openNamed();
} catch (error) {
    $("problem").hidden = false;
    translated(() => ($("problem").textContent = `${say("docs_missing")} ${error.detail ?? ""}`));
}
