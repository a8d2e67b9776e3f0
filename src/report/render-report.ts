import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { packReport } from "./packed.ts";
import type { ReportData } from "./report-data.ts";

/**
 * The report as one HTML page that needs nothing else: style, program and data are in it, and its Content-Security-Policy lets nothing else
 * in. What the data says is text, never markup.
 */
export function renderReport(data: ReportData): string {
	const style = readPart("page.css");
	const program = readPart("page.js");
	const { head, tensors, offsets } = packReport(data);
	const policy = [
		"default-src 'none'",
		`script-src '${digestOf(program)}'`,
		`style-src '${digestOf(style)}'`,
		"base-uri 'none'",
		"form-action 'none'",
	].join("; ");
	return [
		"<!doctype html>",
		'<html lang="en">',
		"<head>",
		'<meta charset="utf-8">',
		`<meta http-equiv="Content-Security-Policy" content="${policy}">`,
		'<meta name="viewport" content="width=device-width, initial-scale=1">',
		'<meta name="color-scheme" content="light dark">',
		'<meta name="referrer" content="no-referrer">',
		`<title>${escapeText(titleOf(data))}</title>`,
		`<style>${style}</style>`,
		"</head>",
		"<body>",
		"<noscript>This report is drawn by a script that is part of this page. Scripts are switched off.</noscript>",
		dataBlock("head", head),
		dataBlock("tensors", tensors),
		dataBlock("offsets", offsets),
		`<script>${program}</script>`,
		"</body>",
		"</html>",
		"",
	].join("\n");
}

function readPart(name: string): string {
	const text = readFileSync(new URL(`./${name}`, import.meta.url), "utf8");
	// Nothing in the page's own parts may end the element that holds it.
	if (/<\/(?:script|style)|<!--/i.test(text)) throw new Error(`internal error: markup in ${name}`);
	return text;
}

/** What a Content-Security-Policy names an inline script or style by. */
function digestOf(text: string): string {
	return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}

/** JSON in which no text can end the element: `<` occurs in strings alone, where JSON lets it be escaped. */
function dataBlock(id: string, value: unknown): string {
	const json = JSON.stringify(value).replaceAll("<", String.raw`\u003c`);
	return `<script type="application/json" id="data-${id}">${json}</script>`;
}

function titleOf({ kind, origin }: ReportData): string {
	const what = { plan: "Plan", conversion: "Conversion", checkpoint: "Checkpoint" }[kind];
	return `${what}: ${origin.model ?? origin.directory ?? "unnamed"}`;
}

function escapeText(text: string): string {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
