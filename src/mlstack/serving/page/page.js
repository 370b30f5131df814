// The page at /: a picture goes to the server, its answer is shown.
import { clearAnswer, showAnswer, showProblem, showWaiting, startAnswer } from "./answer.js";
import { $, ask, askJson, make, say, startFrame, translated } from "./frame.js";
import { startLive } from "./live.js";

const PIXELATED_BELOW = 160; // pixels: a picture this small is shown as the squares that it is
let waiting = null; // what ends the request under way
let last = null; // the picture sent last, for "try again"
let models = [];

function addressOf(model) {
    return model ? `v1/models/${encodeURIComponent(model)}/predict?top_k=5` : "predict_image?top_k=5";
}

async function send(picture, name) {
    waiting?.abort();
    const mine = (waiting = new AbortController());
    last = [picture, name];
    preview(picture, name);
    showWaiting();
    const form = new FormData();
    form.append("file", picture, name);
    try {
        const answer = await askJson(addressOf($("model").value), { method: "POST", body: form, signal: mine.signal });
        if (waiting === mine) showAnswer(answer, modelOf(answer.model));
    } catch (error) {
        if (waiting === mine) showProblem(error);
    }
}

const modelOf = (name) => models.find((model) => model.name === name);

function preview(picture, name) {
    const image = $("preview");
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    image.alt = name;
}

function startPreview() {
    const image = $("preview");
    image.addEventListener("load", () => {
        image.classList.toggle("pixelated", Math.max(image.naturalWidth, image.naturalHeight) < PIXELATED_BELOW);
        image.hidden = false;
        $("invite").hidden = true;
    });
    image.addEventListener("error", () => {
        image.hidden = true; // no picture: the server will say so
        $("invite").hidden = false;
    });
}

// ---- the five ways in: chosen, photographed, dropped, pasted, an example

function startInputs() {
    for (const input of [$("file"), $("camera")]) {
        input.addEventListener("change", () => {
            const [file] = input.files;
            if (file) send(file, file.name);
            input.value = ""; // the same file may be chosen again
        });
    }
    $("shoot").addEventListener("click", () => $("camera").click());
    // On the whole window: a picture dropped beside the zone would otherwise replace the page.
    addEventListener("dragover", (event) => {
        event.preventDefault();
        $("zone").classList.add("over");
    });
    addEventListener("dragleave", (event) => {
        if (!event.relatedTarget) $("zone").classList.remove("over");
    });
    addEventListener("drop", (event) => {
        event.preventDefault();
        $("zone").classList.remove("over");
        const [file] = event.dataTransfer.files;
        if (file) send(file, file.name);
        else showProblem(new Error(say("drop_empty")));
    });
    addEventListener("paste", (event) => {
        const [file] = event.clipboardData?.files ?? [];
        if (file) send(file, file.name);
    });
    $("again").addEventListener("click", () => last && send(...last));
}

async function showExamples() {
    const found = await askJson("examples", { quietly: true }).catch(() => ({ examples: [] }));
    const buttons = await Promise.all(found.examples.slice(0, 8).map(exampleButton));
    $("examples").replaceChildren(...buttons.filter(Boolean));
}

async function exampleButton({ url, label }, place) {
    // Fetched, not <img src>: an element of the page can't send the key.
    const response = await ask(url, { quietly: true }).catch(() => null);
    if (!response?.ok) return null;
    const picture = await response.blob();
    const names = label && !/^\d+$/.test(label); // a number only counts them
    const image = make("img", { src: URL.createObjectURL(picture), alt: "" });
    const button = make("button", { type: "button" }, image);
    translated(() => {
        const n = place + 1;
        const name = names ? say("example_labelled", { n, label }) : say("example_n", { n });
        button.setAttribute("aria-label", name);
        button.title = names ? label : name;
    });
    button.addEventListener("click", () => send(picture, `example_${place + 1}.png`));
    return button;
}

// ---- which model

function offerModels(status) {
    const before = models.map(({ name }) => name).join("\n");
    models = status.models ?? [];
    if (models.map(({ name }) => name).join("\n") === before) return;
    const chosen = $("model").value;
    const any = make("option", { value: "", text: say("any_model"), "data-t": "any_model" });
    $("model").replaceChildren(any, ...models.map((model) => make("option", { value: model.name, text: model.name })));
    $("model").value = models.some((model) => model.name === chosen) ? chosen : "";
    $("pick").hidden = models.length < 2;
    if ($("examples").childElementCount === 0) showExamples();
}

startFrame();
startPreview();
startInputs();
startAnswer();
clearAnswer();
$("model").addEventListener("change", () => last && send(...last));
startLive(offerModels);
