import { h, setAttributes } from "./dom.ts";
import { type ListPlace, scrollTopFor, topRowOf, totalHeight } from "./list-place.ts";

/** What a list shows, and what picking does. */
export interface VirtualListOptions {
	/** Begins the ids of its elements. */
	readonly id: string;
	/** Its name for those who do not see it. */
	readonly label: string;
	/** Height of a row, pixels. */
	readonly rowHeight: number;
	/** Fills an empty row. */
	readonly render: (row: HTMLElement, index: number) => void;
	readonly onPick: (index: number) => void;
	/** The pointer is over a row, or over none: −1. */
	readonly onHover?: (index: number) => void;
	/** Shown in place of rows when there are none. */
	readonly empty: string;
}

/** A list of any length, of which only the rows in view exist. */
export interface VirtualList {
	readonly element: HTMLElement;
	/** Shows so many rows, of which one is picked; −1 for none. */
	readonly update: (rows: number, picked: number) => void;
	/** Scrolls a row into view. */
	readonly reveal: (index: number) => void;
}

/** Rows that exist beyond the edges of the view. */
const MARGIN = 6;

/** A listbox by the rules of WAI-ARIA: one stop for Tab, the arrows pick. */
export function createVirtualList(options: VirtualListOptions): VirtualList {
	const { id, label, rowHeight, empty } = options;
	const space = h("div", { class: "list-space", role: "presentation" });
	const element = h(
		"div",
		{ class: "list", role: "listbox", tabindex: 0, "aria-label": label },
		space,
	);
	let rows = 0;
	let picked = -1;
	const place = (): ListPlace => ({
		rows,
		rowHeight,
		viewHeight: element.clientHeight,
		scrollTop: element.scrollTop,
	});
	const draw = (): void => {
		const now = place();
		const top = topRowOf(now);
		const first = Math.max(0, Math.floor(top) - MARGIN);
		const inView = Math.ceil(now.viewHeight / rowHeight);
		const last = Math.min(rows, Math.ceil(top) + inView + MARGIN);
		const shift = now.scrollTop - top * rowHeight;
		const indices = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
		space.replaceChildren(
			...indices.map((index) => createRow(options, index, rows, picked, shift)),
		);
		const isThere = picked >= first && picked < last;
		setAttributes(element, { "aria-activedescendant": isThere ? `${id}-${picked}` : undefined });
	};
	const reveal = (index: number): void => {
		const wanted = scrollTopFor(place(), index);
		if (wanted !== undefined) element.scrollTop = wanted;
	};
	element.addEventListener("scroll", draw, { passive: true });
	new ResizeObserver(draw).observe(element);
	listen(element, options, (key) => {
		const page = Math.max(1, Math.floor(element.clientHeight / rowHeight) - 1);
		const next = targetOf(key, picked, rows, page);
		if (next === undefined || rows === 0) return false;
		const index = Math.max(0, Math.min(rows - 1, next));
		reveal(index);
		options.onPick(index);
		return true;
	});
	return {
		element,
		reveal,
		update(nextRows, nextPicked) {
			rows = nextRows;
			picked = nextPicked;
			space.style.height = `${totalHeight(place())}px`;
			element.dataset["empty"] = rows === 0 ? empty : "";
			draw();
		},
	};
}

function createRow(
	{ id, rowHeight, render }: VirtualListOptions,
	index: number,
	rows: number,
	picked: number,
	shift: number,
): HTMLElement {
	const row = h("div", {
		class: "row",
		role: "option",
		id: `${id}-${index}`,
		"aria-selected": index === picked ? "true" : "false",
		"aria-setsize": rows,
		"aria-posinset": index + 1,
		"data-index": index,
	});
	row.style.transform = `translateY(${shift + index * rowHeight}px)`;
	row.style.height = `${rowHeight}px`;
	render(row, index);
	return row;
}

/** The row that an event is about; −1 for none. */
function indexAt(event: Event): number {
	const row = event.target instanceof Element ? event.target.closest<HTMLElement>(".row") : null;
	return row === null ? -1 : Number(row.dataset["index"]);
}

/** @param onKey - Whether the key meant something. */
function listen(
	element: HTMLElement,
	{ onPick, onHover }: VirtualListOptions,
	onKey: (key: string) => boolean,
): void {
	element.addEventListener("click", (event) => {
		const index = indexAt(event);
		if (index >= 0) onPick(index);
	});
	element.addEventListener("keydown", (event) => {
		if (onKey(event.key)) event.preventDefault();
	});
	if (onHover === undefined) return;
	element.addEventListener("pointermove", (event) => onHover(indexAt(event)));
	element.addEventListener("pointerleave", () => onHover(-1));
}

function targetOf(key: string, picked: number, rows: number, page: number): number | undefined {
	switch (key) {
		case "ArrowDown":
			return picked + 1;
		case "ArrowUp":
			return picked < 0 ? rows - 1 : picked - 1;
		case "PageDown":
			return picked + page;
		case "PageUp":
			return picked - page;
		case "Home":
			return 0;
		case "End":
			return rows - 1;
		case "Enter":
		case " ":
			return picked < 0 ? 0 : picked;
		default:
			return undefined;
	}
}
