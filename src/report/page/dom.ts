/** What an element may contain: text stays text. */
export type Child = Node | string;

/** Attributes; those that are `undefined` or `false` are left out. */
export type Attributes = { readonly [name: string]: string | number | boolean | undefined };

/** A new element. Children that are strings become text: nothing of the data is ever parsed as markup. */
export function h<K extends keyof HTMLElementTagNameMap>(
	tag: K,
	attributes: Attributes = {},
	...children: readonly Child[]
): HTMLElementTagNameMap[K] {
	const element = document.createElement(tag);
	setAttributes(element, attributes);
	element.append(...children);
	return element;
}

/** A new SVG element. */
export function svg<K extends keyof SVGElementTagNameMap>(
	tag: K,
	attributes: Attributes = {},
	...children: readonly Child[]
): SVGElementTagNameMap[K] {
	const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
	setAttributes(element, attributes);
	element.append(...children);
	return element;
}

/** Sets attributes; removes those that are `undefined` or `false`. */
export function setAttributes(element: Element, attributes: Attributes): void {
	for (const [name, value] of Object.entries(attributes)) {
		if (value === undefined || value === false) element.removeAttribute(name);
		else element.setAttribute(name, value === true ? "" : String(value));
	}
}

/** A name from the data, which may be long and in any script. */
export function nameText(text: string): HTMLElement {
	return h("bdi", { class: "name" }, text);
}

/** A name whose beginning is cut off where it is too long: names of tensors differ at their ends. */
export function clippedName(text: string): HTMLElement {
	const cut = Math.max(0, text.length - 26);
	// Between two segments, where there is one.
	const dot = text.indexOf(".", cut);
	const split = cut === 0 ? 0 : dot >= 0 && dot < text.length - 8 ? dot + 1 : cut;
	return h(
		"bdi",
		{ class: "clipped", title: text },
		h("span", { class: "clipped-head" }, text.slice(0, split)),
		h("span", { class: "clipped-tail" }, text.slice(split)),
	);
}

/** Terms and what they are. */
export function facts(
	rows: readonly (readonly [term: string, value: Child | undefined])[],
): HTMLElement {
	const list = h("dl", { class: "facts" });
	for (const [term, value] of rows) {
		if (value === undefined || value === "") continue;
		list.append(h("div", {}, h("dt", {}, term), h("dd", {}, value)));
	}
	return list;
}

/** A part of the page under a heading of its own. */
export function section(
	id: string,
	title: string,
	intro: string,
	...children: readonly Child[]
): HTMLElement {
	const heading = h("h2", { id: `${id}-title`, tabindex: -1 }, title);
	return h(
		"section",
		{ id, class: "section", "aria-labelledby": `${id}-title` },
		h(
			"header",
			{ class: "section-head" },
			heading,
			...(intro === "" ? [] : [h("p", { class: "muted" }, intro)]),
		),
		...children,
	);
}

/** A framed part of a section. */
export function card(title: string, ...children: readonly Child[]): HTMLElement {
	return h("div", { class: "card" }, h("h3", {}, title), ...children);
}
