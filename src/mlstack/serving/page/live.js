// The live panel: asks /status every two seconds while somebody looks at the page.
import { $, Refused, askJson, language, make, number, percent, say, translated } from "./frame.js";

const EVERY_MS = 2000;
const SLOWEST_MS = 8000; // between tries while the server is away
const SPAN_MS = 120000;
const [WIDTH, HEIGHT] = [240, 48]; // of the sparklines, as in index.html

let points = []; // of the last two minutes: { at, requests_per_s, p95_ms }
let newest = null;
let wait = EVERY_MS;
let timer = null;
let newestPoll = null;
let onStatus = () => {};

async function poll() {
    clearTimeout(timer);
    if (document.hidden) return;
    const mine = (newestPoll = {}); // a second one may begin before this one ends
    const status = await askJson("status", { quietly: true, timeout: 5000 }).catch((error) => error);
    if (mine !== newestPoll) return;
    wait = status instanceof Error ? Math.min(SLOWEST_MS, wait * 1.5) : EVERY_MS;
    timer = setTimeout(poll, wait);
    if (status instanceof Error) away(status);
    else receive(status);
}

function away(error) {
    const limited = error instanceof Refused && [401, 403].includes(error.status);
    connection(limited ? "limited" : error instanceof Refused ? "unready" : "unreachable");
    $("live").classList.add("stale");
}

function receive(status) {
    newest = status;
    const now = performance.now();
    points.push({ at: now, ...status.traffic });
    points = points.filter((point) => now - point.at <= SPAN_MS);
    connection(status.models?.length ? "ready" : "unready");
    $("live").classList.remove("stale");
    onStatus(status);
    paint();
}

const STATES = { ready: "ready", limited: "state_limited", unready: "state_unready", unreachable: "unreachable" };

function connection(state) {
    if ($("state").dataset.state === state) return;
    $("state").dataset.state = state;
    $("state-text").dataset.t = STATES[state];
    $("state-text").textContent = say(STATES[state]);
}

// ---- figures

const figure = (value, digits) =>
    Number.isFinite(value) ? number(value, digits ?? (Math.abs(value) < 100 ? 1 : 0)) : "–";

function duration(seconds) {
    if (!Number.isFinite(seconds)) return "–";
    if (seconds < 60) return say("seconds", { n: number(seconds, 0) });
    if (seconds < 3600) return say("minutes", { n: number(Math.floor(seconds / 60), 0) });
    if (seconds < 172800) return say("hours", { n: number(Math.floor(seconds / 3600), 0) });
    return say("days", { n: number(Math.floor(seconds / 86400), 0) });
}

function paint() {
    if (!newest) return;
    const { traffic = {}, memory_mb, uptime_s } = newest;
    for (const name of ["requests_per_s", "images_per_s", "errors_per_s", "batch_mean", "p50_ms", "p95_ms", "p99_ms"])
        $(name).textContent = figure(traffic[name]);
    $("waiting_images").textContent = figure(traffic.waiting_images, 0);
    $("memory_mb").textContent = Number.isFinite(memory_mb) ? `${number(memory_mb, 0)} MB` : "–";
    $("uptime_s").textContent = duration(uptime_s);
    spark($("spark-traffic"), "requests_per_s", "spark_traffic");
    spark($("spark-latency"), "p95_ms", "spark_latency");
    paintDrift();
    paintAlerts(newest.alerts ?? []);
    paintExperiment(newest.experiment);
}

function spark(svg, name, words) {
    const now = performance.now();
    const values = points
        .map((point) => ({ at: point.at, value: point[name] }))
        .filter(({ value }) => Number.isFinite(value));
    const most = Math.max(...values.map(({ value }) => value), 1e-9);
    const x = ({ at }) => (WIDTH * (1 - (now - at) / SPAN_MS)).toFixed(1);
    const y = ({ value }) => (HEIGHT - 2 - (HEIGHT - 6) * (value / most)).toFixed(1);
    const lines = [];
    values.forEach((point, place) => {
        const gap = place === 0 || point.at - values[place - 1].at > 3 * EVERY_MS;
        if (gap) lines.push([]);
        lines.at(-1).push(point);
    });
    const shapes = lines.flatMap((line) => {
        const path = line.map((point) => `${x(point)},${y(point)}`).join(" ");
        const foot = `${x(line.at(-1))},${HEIGHT} ${x(line[0])},${HEIGHT}`;
        return [shape("polygon", `${path} ${foot}`), shape("polyline", path)];
    });
    svg.replaceChildren(...shapes);
    const last = values.at(-1)?.value;
    svg.setAttribute("aria-label", say(words, { now: figure(last), most: figure(values.length ? most : NaN) }));
}

function shape(name, corners) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    element.setAttribute("points", corners);
    return element;
}

// ---- drift, alerts, experiment

const time = (at) =>
    new Date(at).toLocaleTimeString(language(), {
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        hourCycle: "h23",
    });

function entry(kind, title, note = "") {
    const mark = make("i", { class: "dot", "aria-hidden": "true" });
    return make(
        "li",
        { class: kind },
        mark,
        make("span", { class: "name", text: title }),
        make("span", { class: "label", text: note }),
    );
}

function paintDrift() {
    const { models = [], drift = {} } = newest;
    const rows = models.flatMap(({ name }) => {
        const report = drift[name];
        if (!report) return [entry("none", name, say("undecided"))];
        const word = say(report.drifting ? "drifting" : "steady");
        const head = entry(
            report.drifting ? "warn" : "fine",
            name,
            `${word} · ${say("checked", { time: time(report.at) })}`,
        );
        return [head, ...driftingTests(report).map((test) => make("li", { class: "inner" }, test))];
    });
    $("drift").replaceChildren(...rows);
}

function driftingTests({ drifting, tests = [] }) {
    const found = tests.filter((test) => drifting && test.drifting).sort((a, b) => a.p_value - b.p_value);
    return found.slice(0, 4).map(({ name, label, p_value }) => {
        const title = make("span", { text: [name.replaceAll("_", " "), label].filter(Boolean).join(": ") });
        const chance = p_value < 0.001 ? "p < 0.001" : `p = ${number(p_value, 3)}`;
        return make("span", {}, title, make("span", { class: "label", text: chance }));
    });
}

function paintAlerts(alerts) {
    const rows = alerts.slice(0, 6).map(({ message, since }) => entry("warn", message, time(since)));
    $("alerts").replaceChildren(...(rows.length ? rows : [entry("fine", say("no_alerts"))]));
}

function paintExperiment(experiment) {
    $("experiment").hidden = !experiment;
    if (!experiment) return;
    const heads = ["arm", "arm_share", "arm_requests", "arm_errors", "", "confidence", "accuracy"];
    const head = make("tr", {}, ...heads.map((word) => make("th", { scope: "col", text: word ? say(word) : "p95" })));
    const arms = Object.entries(experiment.arms ?? {}).map(armRow);
    $("arms").replaceChildren(make("thead", {}, head), make("tbody", {}, ...arms));
    paintCanary(experiment.canary);
    const decisions = (experiment.decisions ?? []).slice(-3).reverse();
    $("decisions").replaceChildren(...decisions.map(decisionRow));
}

function armRow([name, arm]) {
    const p95 = arm.latency_ms?.p95?.value;
    const cells = [
        make("td", { text: share(arm.share) }),
        make("td", { text: figure(arm.requests, 0) }),
        withInterval(arm.error_rate),
        make("td", { text: Number.isFinite(p95) ? `${number(p95)} ms` : "–" }),
        withInterval(arm.confidence),
        withInterval(arm.accuracy),
    ];
    return make("tr", {}, make("th", { scope: "row", text: name }), ...cells);
}

const share = (value) => (Number.isFinite(value) ? `${number(value, value % 1 ? 1 : 0)} %` : "–");

function withInterval(estimate) {
    const cell = make("td", { text: percent(estimate?.value) });
    if (estimate) cell.append(make("small", { text: `${number(estimate.low * 100)}–${number(estimate.high * 100)}` }));
    return cell;
}

function paintCanary(canary) {
    $("canary").textContent = canary ? `${canary.name} · ${say(`canary_${canary.state}`)}` : "";
    const steps = canary?.steps ?? [];
    $("steps").hidden = steps.length === 0;
    $("steps").replaceChildren(
        ...steps.map((step) => {
            const item = make("li", { text: share(step), class: step <= canary.share ? "reached" : "" });
            if (step === canary.share) item.setAttribute("aria-current", "step");
            return item;
        }),
    );
}

function decisionRow({ kind, from, to, reason, at }) {
    return entry("none", `${say(`kind_${kind}`)}: ${share(from)} → ${share(to)} · ${reason}`, at ? time(at) : "");
}

/** Start to look; `receiveStatus` gets each /status. */
export function startLive(receiveStatus) {
    onStatus = receiveStatus;
    document.addEventListener("visibilitychange", poll);
    addEventListener("online", poll);
    translated(paint);
    poll();
}
