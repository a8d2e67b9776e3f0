import type { Area } from "./area.ts";
import { type Colours, readColours } from "./colours.ts";
import { h, setAttributes } from "./dom.ts";

/** What a picture is of. Items are numbered; those that are not to be seen have no area. */
export interface PictureOptions {
	readonly id: string;
	/** Its name for those who do not see it. */
	readonly label: () => string;
	/** How high it is to be when it is so wide; CSS pixels. */
	readonly heightFor: (width: number) => number;
	readonly draw: (context: CanvasRenderingContext2D, size: Area, colours: Colours) => void;
	readonly areaOf: (item: number, size: Area) => Area | undefined;
	/** The item at a place; −1 for none. */
	readonly itemAt: (x: number, y: number, size: Area) => number;
	/** Where an arrow key, Home or End leads from `item`; −1 when nothing was picked. */
	readonly neighbourOf: (item: number, key: string) => number | undefined;
	readonly describe: (item: number) => string;
	readonly onPick: (item: number) => void;
	/** Escape, or a press beside all items. */
	readonly onClear: () => void;
}

/** A canvas whose items can be pointed at, and walked through with the arrow keys. */
export interface Picture {
	readonly element: HTMLElement;
	/** Draws again, with another item picked, −1 for none, and says how many there are. */
	readonly update: (picked: number, items: number) => void;
	/** Marks an item that is pointed at elsewhere; −1 for none. */
	readonly point: (item: number) => void;
}

/** A picture on a canvas, however many items it has, and over it a listbox of one option: the item that is picked. */
export function createPicture(options: PictureOptions): Picture {
	const { id, label, describe, areaOf } = options;
	const canvas = h("canvas", { "aria-hidden": "true" });
	const pointer = createPointer();
	const option = h("div", { class: "visually-hidden", role: "option", id: `${id}-active` });
	const keys = h("div", { class: "picture-keys", role: "listbox", tabindex: 0 }, option);
	const element = h("div", { class: "picture" }, canvas, pointer.mark, keys, pointer.tip);
	let size: Area = { x: 0, y: 0, width: 0, height: 0 };
	let picked = -1;
	let items = 0;
	const paint = (): void => {
		size = paintInto(canvas, element.clientWidth, options) ?? size;
	};
	const point = (item: number): void => {
		const area = item < 0 ? undefined : areaOf(item, size);
		pointer.show(area, size, area === undefined ? "" : describe(item));
	};
	listen(keys, options, () => ({ size, picked, items }), point);
	new ResizeObserver(paint).observe(element);
	document.addEventListener("themechange", paint);
	const picture: Picture = {
		element,
		point,
		update(nextPicked, nextItems) {
			picked = nextPicked;
			items = nextItems;
			const isNone = picked < 0;
			setAttributes(keys, {
				"aria-label": label(),
				"aria-activedescendant": isNone ? undefined : option.id,
			});
			setAttributes(option, {
				"aria-selected": isNone ? "false" : "true",
				"aria-setsize": items,
				"aria-posinset": isNone ? undefined : picked + 1,
			});
			option.textContent = isNone ? "none is picked; the arrow keys pick one" : describe(picked);
			if (document.activeElement !== keys) point(-1);
			paint();
		},
	};
	picture.update(-1, 0);
	return picture;
}

/** @returns Its size; `undefined` while it is not on the page. */
function paintInto(
	canvas: HTMLCanvasElement,
	width: number,
	{ heightFor, draw }: PictureOptions,
): Area | undefined {
	const context = width === 0 ? null : canvas.getContext("2d");
	if (context === null) return undefined;
	const height = Math.round(heightFor(width));
	const ratio = Math.min(3, window.devicePixelRatio || 1);
	canvas.width = Math.round(width * ratio);
	canvas.height = Math.round(height * ratio);
	canvas.style.height = `${height}px`;
	context.scale(ratio, ratio);
	const size = { x: 0, y: 0, width, height };
	draw(context, size, readColours());
	return size;
}

/** The frame around the item that is pointed at, and what is said of it. */
function createPointer(): {
	readonly mark: HTMLElement;
	readonly tip: HTMLElement;
	readonly show: (area: Area | undefined, size: Area, text: string) => void;
} {
	const mark = h("div", { class: "picture-mark", "aria-hidden": "true", hidden: true });
	const tip = h("div", { class: "tip", "aria-hidden": "true", hidden: true });
	return {
		mark,
		tip,
		show(area, size, text) {
			mark.hidden = area === undefined;
			tip.hidden = area === undefined;
			if (area === undefined) return;
			mark.style.transform = `translate(${area.x}px, ${area.y}px)`;
			mark.style.width = `${Math.max(3, area.width)}px`;
			mark.style.height = `${Math.max(3, area.height)}px`;
			tip.textContent = text;
			const middle = area.x + area.width / 2 - tip.offsetWidth / 2;
			const left = Math.max(0, Math.min(size.width - tip.offsetWidth, middle));
			const isLow = area.y + area.height / 2 > size.height / 2;
			const top = isLow ? area.y - tip.offsetHeight - 6 : area.y + area.height + 6;
			tip.style.transform = `translate(${left}px, ${top}px)`;
		},
	};
}

interface PictureState {
	readonly size: Area;
	readonly picked: number;
	readonly items: number;
}

function listen(
	keys: HTMLElement,
	{ itemAt, neighbourOf, onPick, onClear }: PictureOptions,
	state: () => PictureState,
	point: (item: number) => void,
): void {
	const at = (event: MouseEvent): number => {
		const frame = keys.getBoundingClientRect();
		return itemAt(event.clientX - frame.left, event.clientY - frame.top, state().size);
	};
	keys.addEventListener("pointermove", (event) => point(at(event)));
	keys.addEventListener("pointerleave", () => point(-1));
	keys.addEventListener("focus", () => point(state().picked));
	keys.addEventListener("blur", () => point(-1));
	keys.addEventListener("click", (event) => {
		const item = at(event);
		if (item >= 0) onPick(item);
		else onClear();
	});
	keys.addEventListener("keydown", (event) => {
		if (event.key === "Escape") onClear();
		const { picked, items } = state();
		const next = neighbourOf(picked, event.key);
		if (next === undefined || next < 0 || next >= items) return;
		event.preventDefault();
		onPick(next);
		point(next);
	});
}
