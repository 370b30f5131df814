// The form that sends a route's example to the running server and shows what comes back.
import { ask, make, number, say } from "./frame.js";
import { resolve, word } from "./docs.js";

const LONGEST = 20000; // characters of an answer that are shown
const TEXTUAL = /json|text|xml|javascript|svg/;

const exampleOf = (media) => {
    const named = Object.values(media.examples ?? {})[0];
    return media.example ?? resolve(named)?.value ?? resolve(media.schema)?.examples?.[0];
};

/** A text box for JSON, a file input for every other content type. */
function bodyField(kind, media) {
    const example = exampleOf(media);
    if (kind.includes("json")) {
        const text = typeof example === "string" ? example : JSON.stringify(example ?? {}, null, 1);
        const box = make("textarea", { rows: Math.min(12, text.split("\n").length + 1), spellcheck: "false" });
        box.value = text.length > 4000 ? JSON.stringify(example) : text;
        return { element: make("label", {}, word("span", "body", { class: "label" }), box), read: () => box.value };
    }
    const input = make("input", { type: "file" });
    const raw = kind === "application/octet-stream" || kind === "application/x-npy";
    const hint = word("span", raw ? "file_or_zeros" : "file_or_example", { class: "label" });
    const read = async () => {
        const file = input.files[0] ?? (await (raw ? blackPicture(kind) : examplePicture()));
        if (kind !== "multipart/form-data") return file;
        const form = new FormData();
        form.append("file", file, file.name ?? "example.png");
        return form;
    };
    return { element: make("label", {}, hint, input), read };
}

const examplePicture = async () => (await ask("examples/0.png")).blob();

/** uint8 [1, height, width, channel], all black, as raw bytes or as a .npy file of version 1.0. */
async function blackPicture(kind) {
    const { input } = await (await ask("metadata")).json();
    const shape = [1, input.height, input.width, input.channels];
    const pixels = new Uint8Array(shape.reduce((a, b) => a * b));
    if (kind === "application/octet-stream") return new Blob([pixels]);
    const text = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
    const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
    const head = new Uint8Array([
        0x93,
        ...new TextEncoder().encode("NUMPY"),
        1,
        0,
        padded.length & 255,
        padded.length >> 8,
    ]);
    return new Blob([head, padded, pixels]);
}

function parameterFields(parameters) {
    return parameters.map((parameter) => {
        const schema = resolve(parameter.schema) ?? {};
        const value =
            parameter.example ??
            Object.values(parameter.examples ?? {})[0]?.value ??
            (parameter.required ? (schema.default ?? schema.enum?.[0]) : undefined);
        const input = make("input", {
            type: "text",
            spellcheck: "false",
            autocomplete: "off",
            ...(parameter.required ? { required: "" } : {}),
        });
        input.value = parameter.in === "path" || parameter.required ? (value ?? "") : "";
        if (value !== undefined) input.placeholder = String(value);
        return { ...parameter, input, element: make("label", {}, make("code", { text: parameter.name }), input) };
    });
}

function addressOf(path, fields) {
    const query = new URLSearchParams();
    let address = path.replace(/^\//, "");
    for (const { in: place, name, input } of fields) {
        if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value));
        if (place === "query" && input.value !== "") query.set(name, input.value);
    }
    return (address || "./") + (query.size ? `?${query}` : "");
}

async function shown(response) {
    const kind = response.headers.get("content-type") ?? "";
    if (kind.startsWith("image/") && !kind.includes("svg"))
        return make("img", { src: URL.createObjectURL(await response.blob()), alt: "" });
    if (kind && !TEXTUAL.test(kind))
        return make("pre", { text: `${kind}, ${(await response.arrayBuffer()).byteLength} bytes` });
    let text = await response.text();
    try {
        if (kind.includes("json")) text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        // shown as it came
    }
    return make("pre", { tabindex: "0", text: text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text });
}

/** The form of one route. */
export function attempt({ method, path, parameters, content }) {
    const fields = parameterFields(parameters.filter((one) => one.in !== "header" || one.required));
    // Tensors behind JSON are for programs: a form can't write them.
    const forPrograms = parameters.some(({ name }) => name === "inference-header-content-length");
    const kinds = Object.keys(content).filter((kind) => !forPrograms || kind.includes("json"));
    const choice = make(
        "select",
        { "aria-label": "content-type" },
        ...kinds.map((kind) => make("option", { value: kind, text: kind })),
    );
    const place = make("div");
    let body = null;
    const choose = () => {
        body = kinds.length ? bodyField(choice.value, content[choice.value]) : null;
        place.replaceChildren(...(body ? [body.element] : []));
    };
    choice.addEventListener("change", choose);
    choose();

    const got = make("div", { class: "got", "aria-live": "polite", hidden: "" });
    const send = word("button", "send", { class: "main" });
    const row = make("div", { class: "fields" }, ...fields.map(({ element }) => element));
    const form = make(
        "form",
        { class: "attempt" },
        word("h4", "try"),
        row,
        ...(kinds.length > 1 ? [choice] : []),
        place,
        send,
        got,
    );
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        send.disabled = true;
        try {
            const headers = Object.fromEntries(
                fields
                    .filter((one) => one.in === "header" && one.input.value)
                    .map((one) => [one.name, one.input.value]),
            );
            // The browser itself writes multipart's content type, with the boundary in it.
            const data = body ? await body.read() : undefined;
            if (body && !(data instanceof FormData)) headers["content-type"] = data.type || choice.value;
            const start = performance.now();
            const response = await ask(addressOf(path, fields), { method: method.toUpperCase(), headers, body: data });
            const took = performance.now() - start;
            const status = make("p", {
                class: response.ok ? "status" : "status bad",
                text: `${response.status} ${response.statusText} · ${number(took)} ms`,
            });
            got.replaceChildren(status, await shown(response));
        } catch {
            got.replaceChildren(make("p", { class: "status bad", text: say("unreachable_long") }));
        }
        got.hidden = false;
        send.disabled = false;
    });
    return form;
}
