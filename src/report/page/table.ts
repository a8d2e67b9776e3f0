import { type Child, h } from "./dom.ts";
import * as format from "./format.ts";

/** A column of a table. */
export interface Column<T> {
	readonly title: string;
	readonly isNumber?: boolean;
	readonly cell: (row: T, index: number) => Child;
}

/** Rows of a table before they are only counted. */
const SHOWN = 200;

/** A table in a frame that scrolls when the page is narrow. */
export function table<T>(
	caption: string,
	columns: readonly Column<T>[],
	rows: readonly T[],
): HTMLElement {
	const kind = ({ isNumber }: Column<T>): string | undefined =>
		isNumber === true ? "number" : undefined;
	const body = rows
		.slice(0, SHOWN)
		.map((row, index) =>
			h(
				"tr",
				{},
				...columns.map((column, place) =>
					place === 0
						? h("th", { scope: "row" }, column.cell(row, index))
						: h("td", { class: kind(column) }, column.cell(row, index)),
				),
			),
		);
	const head = h(
		"tr",
		{},
		...columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.title)),
	);
	const rest = rows.length - body.length;
	return h(
		"div",
		{ class: "table-frame", tabindex: 0, role: "region", "aria-label": caption },
		h(
			"table",
			{},
			h("caption", { class: "visually-hidden" }, caption),
			h("thead", {}, head),
			h("tbody", {}, ...body),
		),
		...(rest > 0 ? [h("p", { class: "muted" }, `… and ${format.plural(rest, "more row")}`)] : []),
	);
}

/** A bar that says how much a number is of the largest; the number itself is for those who do not see it. */
export function bar(text: string, fraction: number): HTMLElement {
	return h("span", {}, track(fraction), h("span", { class: "visually-hidden" }, text));
}

/** A number with a bar beside it that says how much it is of the largest. */
export function barCell(text: string, fraction: number): HTMLElement {
	return h("span", { class: "bar-cell" }, track(fraction), h("span", {}, text));
}

function track(fraction: number): HTMLElement {
	const fill = h("span", { class: "bar-fill" });
	fill.style.width = `${Math.max(0, Math.min(1, fraction)) * 100}%`;
	return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}
