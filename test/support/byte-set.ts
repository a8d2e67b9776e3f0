import type { RequestRecord } from "../../src/demo/local-hub.ts";

/** Bytes `start` up to but not including `end` of a file. */
export interface FileSpan {
	readonly file: string;
	readonly start: number;
	readonly end: number;
}

/**
 * Weight bytes that were asked of the CDN: the ranges that begin behind a file's header. What was sent of a range before its reader
 * died cannot be known, so that all of it counts.
 *
 * @param headerBytes - By path of the file.
 */
export function weightSpans(
	requests: readonly RequestRecord[],
	headerBytes: ReadonlyMap<string, number>,
): FileSpan[] {
	return requests.flatMap((record) => {
		const { origin, method, path, status } = record;
		if (origin !== "cdn" || method !== "GET" || status !== 206) return [];
		const file = [...headerBytes.keys()].find((name) => path.endsWith(`/${name}`));
		if (file === undefined) throw new Error(`no file of the model: ${path}`);
		const span = { ...spanOf(record), file };
		return span.start < headerBytes.get(file)! ? [] : [span];
	});
}

/** What one request asked for, by its `Range` header; the file as the CDN names it. */
export function spanOf({ path, range }: RequestRecord): FileSpan {
	const match = /^bytes=(\d+)-(\d+)$/.exec(range ?? "");
	return { file: path, start: Number(match?.[1]), end: Number(match?.[2]) + 1 };
}

/** Bytes in spans, each as often as it is in one. */
export function sumOf(spans: Iterable<FileSpan>): number {
	let sum = 0;
	for (const { start, end } of spans) sum += end - start;
	return sum;
}

/** How often each byte is covered: disjoint spans in order, with their count. */
export function countsOf(spans: readonly FileSpan[]): (FileSpan & { readonly count: number })[] {
	const result: (FileSpan & { readonly count: number })[] = [];
	for (const file of new Set(spans.map((span) => span.file))) {
		const edges = spans
			.filter((span) => span.file === file)
			.flatMap(({ start, end }) => [[start, 1] as const, [end, -1] as const])
			.toSorted((a, b) => a[0] - b[0]);
		let count = 0;
		let from = 0;
		for (const [place, step] of edges) {
			if (count > 0 && place > from) result.push({ file, start: from, end: place, count });
			count += step;
			from = place;
		}
	}
	return result;
}

/** Bytes of `spans` that lie in none of `others`. */
export function bytesOutside(spans: readonly FileSpan[], others: readonly FileSpan[]): number {
	const all = countsOf([...spans, ...others]);
	return sumOf(all) - sumOf(countsOf(others));
}
