// Two panels as SVG: how long a checkpoint takes to prepare, and to load.

/** @typedef {import("./lib/results.mjs").Row} Row */

/** The network of the first panel. */
const NETWORK = "tls";

const MODELS = [
	{ name: "llama3", title: "Llama-3-like" },
	{ name: "llama4", title: "Llama-4-like (MoE)" },
];

/** Rows of the first panel, the slowest first. `ink` is a class of the style below. */
const PREPARE = [
	{ name: "A fp32", label: "download + convert_from_hf, fp32", ink: "peer" },
	{ name: "A bf16", label: "download + convert_from_hf, bf16", ink: "peer" },
	{ name: "B", label: "download + 4 ranks, dcp.save", ink: "peer" },
	{ name: "ours", label: "hf-stream-dcp", ink: "ours" },
	{ name: "ours, threads 1", label: "… with 1 thread", ink: "ours" },
	{ name: "ours, threads 2", label: "… with 2 threads", ink: "ours" },
	{ name: "ours, threads 4", label: "… with 4 threads", ink: "ours" },
	{ name: "curl to null", label: "floor: curl to /dev/null", ink: "floor" },
	{ name: "dd", label: "floor: dd with fsync", ink: "floor" },
];

/** Bars of the second panel's groups. */
const USE = [
	{ name: "A", label: "convert_from_hf", ink: "peer" },
	{ name: "B", label: "4 ranks", ink: "peer2" },
	{ name: "ours", label: "hf-stream-dcp", ink: "ours" },
	{ name: "HF files", label: "local HF files", ink: "floor" },
];

/** Colours by class; written out in full, because not every renderer knows custom properties. */
const LIGHT = {
	paper: "#ffffff",
	ink: "#1f2328",
	faint: "#59636e",
	axis: "#d1d9e0",
	ours: "#0969da",
	peer: "#bc4c00",
	peer2: "#d4a72c",
	floor: "#818b98",
};

const DARK = {
	paper: "#0d1117",
	ink: "#f0f6fc",
	faint: "#9198a1",
	axis: "#3d444d",
	ours: "#4493f8",
	peer: "#db6d28",
	peer2: "#e3b341",
	floor: "#6e7681",
};

function colours({ ink, axis, ...fills }) {
	const rules = Object.entries(fills).map(([name, colour]) => `.${name} { fill: ${colour}; }`);
	return [`text { fill: ${ink}; }`, `.axis { stroke: ${axis}; }`, ...rules].join(" ");
}

const STYLE = `
	text { font: 12px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
	text.title { font-size: 15px; font-weight: 600; }
	text.small { font-size: 11px; }
	.end { text-anchor: end; }
	.middle { text-anchor: middle; }
	.light { opacity: 0.6; }
	${colours(LIGHT)}
	@media (prefers-color-scheme: dark) { ${colours(DARK)} }
`;

function escape(content) {
	return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function text(x, y, content, classes = "") {
	return `<text x="${round(x)}" y="${round(y)}" class="${classes}">${escape(content)}</text>`;
}

function bar({ x, y, width, height }, classes) {
	return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" rx="1.5" class="${classes}"/>`;
}

function round(value) {
	return Number(value.toFixed(1));
}

function seconds(value) {
	return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} s`;
}

/** Horizontal bars, one pair per way of preparing: the models. */
function preparePanel(values, { x, y, width }) {
	const shown = PREPARE.map((row) => ({
		...row,
		seconds: MODELS.map(({ name }) =>
			values.get(`prepare, ${name}, ${NETWORK}: ${row.name}, wall`),
		),
	})).filter((row) => row.seconds.some((value) => value !== undefined));
	if (shown.length === 0) return undefined;
	const labels = 226;
	const scale =
		(width - labels - 50) / Math.max(...shown.flatMap((row) => row.seconds.filter(Boolean)));
	const parts = [
		text(x, y, "Prepare: empty disk to synced checkpoint, over TLS", "title"),
		text(x, y + 18, "seconds; Llama-3-like above, Llama-4-like below (lighter)", "faint small"),
	];
	shown.forEach((row, index) => {
		const top = y + 32 + index * 33;
		parts.push(text(x + labels - 8, top + 17, row.label, "end"));
		row.seconds.forEach((value, model) => {
			if (value === undefined) return;
			const box = {
				x: x + labels,
				y: top + model * 13,
				width: Math.max(1, value * scale),
				height: 11,
			};
			parts.push(bar(box, `${row.ink}${model > 0 ? " light" : ""}`));
			parts.push(text(box.x + box.width + 5, box.y + 10, seconds(value), "small"));
		});
	});
	return { svg: parts.join("\n"), bottom: y + 32 + shown.length * 33 };
}

/** Groups of bars by number of ranks, for one model; below each, how much every rank reads of what it owns. */
function usePanel(values, { x, y, width, height }, { name: model, title }) {
	const at = (ranks, name, what) => values.get(`use, ${model}, fsdp ${ranks}: ${name}, ${what}`);
	const groups = [1, 2, 4, 8].filter((ranks) => at(ranks, "ours", "wall") !== undefined);
	if (groups.length === 0) return undefined;
	const most = Math.max(
		...groups.flatMap((ranks) => USE.map(({ name }) => at(ranks, name, "wall") ?? 0)),
	);
	const floor = y + height;
	const step = width / groups.length;
	const thick = Math.min(22, (step - 16) / USE.length);
	const parts = [
		text(x, y, `Use: dcp.load under FSDP, ${title}`, "title"),
		text(
			x,
			y + 18,
			"seconds, page cache warm; below: bytes read / owned by a rank, same order",
			"faint small",
		),
		`<line x1="${x}" x2="${x + width}" y1="${floor}" y2="${floor}" class="axis"/>`,
	];
	groups.forEach((ranks, index) => {
		const left = x + index * step + (step - thick * USE.length) / 2;
		USE.forEach(({ name, ink }, place) => {
			const value = at(ranks, name, "wall");
			if (value === undefined) return;
			const tall = Math.max(1, (value / most) * (height - 48));
			const box = { x: left + place * thick, y: floor - tall, width: thick - 2, height: tall };
			parts.push(bar(box, ink));
			parts.push(text(box.x + box.width / 2, box.y - 4, value.toFixed(1), "middle small"));
		});
		const middle = x + (index + 0.5) * step;
		parts.push(text(middle, floor + 15, ranks === 1 ? "1 rank" : `${ranks} ranks`, "middle"));
		const amounts = USE.map(({ name }) => at(ranks, name, "bytes read / owned, worst rank"));
		const read = amounts
			.filter((amount) => amount !== undefined)
			.map((amount) => amount.toFixed(1));
		parts.push(text(middle, floor + 30, read.join(" · "), "middle faint small"));
	});
	return parts.join("\n");
}

function legend({ x, y }) {
	let left = x;
	return USE.map(({ label, ink }) => {
		const item =
			bar({ x: left, y: y - 9, width: 10, height: 10 }, ink) + text(left + 14, y, label, "small");
		left += 28 + label.length * 6.3;
		return item;
	}).join("\n");
}

/**
 * The chart of the results; `undefined` when they hold neither panel.
 *
 * @param {readonly Row[]} rows of latest.json
 * @returns {string | undefined} an SVG document that follows the reader's light or dark scheme
 */
export function renderChart(rows) {
	const values = new Map(
		rows.filter(({ value }) => value !== null).map(({ figure, value }) => [figure, value]),
	);
	const prepare = preparePanel(values, { x: 24, y: 34, width: 492 });
	const used = MODELS.map((model, index) => {
		const place = { x: 556, y: 34 + index * 190, width: 420, height: 126 };
		return usePanel(values, place, model);
	}).filter((panel) => panel !== undefined);
	if (prepare === undefined && used.length === 0) return undefined;
	const height = Math.max(prepare?.bottom ?? 0, 34 + used.length * 190 - 22) + 24;
	const width = 1000;
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Time to prepare and to load a checkpoint">
<style>${STYLE}</style>
<rect width="${width}" height="${height}" rx="6" class="paper"/>
${prepare?.svg ?? ""}
${used.join("\n")}
${used.length > 0 ? legend({ x: 556, y: height - 14 }) : ""}
</svg>
`;
}
