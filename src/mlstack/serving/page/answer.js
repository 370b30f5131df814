// The card that shows an answer: classes or values, time, where it comes from, and what the reader thinks of it.
import { $, Refused, Unreachable, askJson, language, make, number, percent, say, translated } from "./frame.js";

const PARTS = ["queue", "decode", "model", "rest"];
const TITLES = {
    401: "key_title",
    403: "forbidden",
    404: "not_found",
    413: "too_large",
    415: "unsupported",
    429: "busy",
    503: "unready",
};
let shown = null; // the answer on the card, and the model's entry in /status
let problem = null;
let thanked = false;

function state(name) {
    $("answer").dataset.state = name;
    $("answer").setAttribute("aria-busy", String(name === "waiting"));
    $("empty").hidden = name !== "empty";
    $("problem").hidden = name !== "problem";
    if (name !== "waiting") $("result").hidden = name !== "answer";
    $("feedback").inert = name !== "answer";
}

export function clearAnswer() {
    state("empty");
    paintTime({});
}

/** The old answer stays, pale, until the new one is there: nothing jumps. */
export function showWaiting() {
    if ($("answer").dataset.state === "problem") clearAnswer();
    state("waiting");
    $("said").textContent = say("reading");
}

export function showAnswer(answer, model) {
    [shown, problem, thanked] = [{ answer, model }, null, false];
    openTruth(false);
    state("answer");
    paint();
    const name = $("winner").textContent;
    $("said").textContent = $("confidence").textContent
        ? say("saying", { name, percent: $("confidence").textContent })
        : name;
}

export function showProblem(error) {
    [shown, problem] = [null, error];
    $("said").textContent = "";
    for (const fact of ["model", "version", "request"]) $(`fact-${fact}`).textContent = "–";
    state("problem");
    paint();
}

function paint() {
    if (problem) paintProblem(problem);
    if (!shown) return paintTime({});
    const { answer } = shown;
    paintPrediction(answer.predictions[0]);
    paintTime(answer.timing_ms ?? {});
    $("fact-model").textContent = answer.model;
    $("fact-version").textContent = answer.version;
    $("fact-request").textContent = answer.request_id;
    paintFeedback(answer.predictions[0]);
}

// ---- what was answered

function paintPrediction(prediction) {
    $("result").classList.toggle("single", prediction.class !== undefined);
    if (prediction.values) paintValues(prediction.values);
    else if (prediction.labels) paintLabels(prediction);
    else paintClasses(prediction);
}

function paintClasses({ class: winner, confidence, probabilities }) {
    $("winner").textContent = winner;
    $("confidence").textContent = percent(confidence);
    paintBars(Object.entries(probabilities), (name) => name === winner, winner);
}

function paintLabels({ labels, probabilities }) {
    const names = labels.map((label) => (typeof label === "string" ? label : label.class));
    $("winner").textContent = names.join(", ") || say("no_labels");
    $("confidence").textContent = "";
    paintBars(Object.entries(probabilities ?? {}), (name) => names.includes(name));
}

function paintValues(values) {
    const entries = Object.entries(values);
    const precise = (value) => new Intl.NumberFormat(language(), { maximumSignificantDigits: 5 }).format(value);
    const single = entries.length === 1;
    $("winner").textContent = single ? precise(entries[0][1]) : "";
    $("confidence").textContent = single ? entries[0][0] : "";
    const rows = single ? [] : entries.map(([name, value]) => row(name, precise(value)));
    $("bars").replaceChildren(...rows);
}

function row(name, value) {
    const title = make("span", { class: "name", text: name, title: name });
    return make("li", {}, title, make("span", { class: "value", text: value }));
}

function paintBars(entries, chosen, only) {
    const best = entries.sort((a, b) => b[1] - a[1]).slice(0, 5);
    $("bars").replaceChildren(
        ...best.map(([name, probability]) => {
            const item = row(name, percent(probability));
            const bar = make("span", { class: "bar-of", "aria-hidden": "true" }, make("i"));
            bar.firstChild.style.width = `${Math.max(0, Math.min(1, probability)) * 100}%`;
            item.append(bar);
            item.classList.toggle("chosen", chosen(name));
            if (name === only) item.setAttribute("aria-hidden", "true"); // it stands above already
            return item;
        }),
    );
}

function paintTime({ queue, decode, model, total }) {
    const known = total !== undefined;
    const rest = Math.max(0, total - queue - decode - model);
    const parts = { queue, decode, model, rest };
    $("total").textContent = known ? `${number(total)} ms` : "–";
    $("stack").replaceChildren(
        ...PARTS.map((part) => {
            const piece = make("i", { class: part });
            piece.style.flexGrow = known ? Math.max(parts[part] / Math.max(total, 1e-6), 0) : 0;
            return piece;
        }),
    );
    $("legend").replaceChildren(
        ...PARTS.map((part) => {
            const word = make("dt", { class: part, text: say(part === "model" ? "model_time" : part) });
            return make("div", {}, word, make("dd", { text: known ? number(parts[part]) : "–" }));
        }),
    );
}

// ---- what went wrong

function paintProblem(error) {
    const unreachable = error instanceof Unreachable;
    const refused = error instanceof Refused;
    const { status } = error;
    const word = TITLES[status] ?? (status >= 500 ? "failed" : "unusable");
    $("problem-title").textContent = say(unreachable ? "unreachable_title" : word);
    $("problem-said").hidden = !refused;
    const silent = unreachable ? say("unreachable_long") : say("detail_missing", { status });
    $("problem-detail").textContent = (unreachable ? "" : refused ? error.detail : error.message) || silent;
    $("again").hidden = !(unreachable || [401, 429].includes(status) || status >= 500);
}

// ---- what the reader knows better

function paintFeedback(prediction) {
    const classes = shown.model?.classes ?? Object.keys(prediction.probabilities ?? {});
    const others = classes.filter((name) => name !== prediction.class);
    $("feedback").classList.toggle("off", prediction.class === undefined || others.length === 0);
    $("feedback-ask").textContent = say(thanked ? "thanks" : "is_right");
    $("choices").hidden = thanked || !$("truth").hidden;
    const before = $("label").value;
    $("label").replaceChildren(...others.map((name) => make("option", { value: name, text: name })));
    if (others.includes(before)) $("label").value = before;
}

function openTruth(open) {
    $("truth").hidden = !open;
    $("choices").hidden = open || thanked;
    $("wrong").setAttribute("aria-expanded", String(open));
    if (open) $("label").focus();
}

async function tell(label) {
    const about = shown;
    const body = JSON.stringify({ request_id: about.answer.request_id, label });
    try {
        await askJson("feedback", { method: "POST", body, headers: { "content-type": "application/json" } });
        if (shown !== about) return;
        thanked = true;
        openTruth(false);
        paintFeedback(about.answer.predictions[0]);
        $("said").textContent = say("thanks");
    } catch (error) {
        if (shown === about) $("feedback-ask").textContent = error.detail || say("unreachable_long");
    }
}

export function startAnswer() {
    $("right").addEventListener("click", () => tell(shown.answer.predictions[0].class));
    $("wrong").addEventListener("click", () => openTruth(true));
    $("truth").addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        openTruth(false);
        $("wrong").focus();
    });
    $("feedback").addEventListener("submit", (event) => {
        event.preventDefault();
        if (!$("truth").hidden) tell($("label").value);
    });
    translated(paint);
}
