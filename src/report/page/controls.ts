import { h, setAttributes } from "./dom.ts";

/** A labelled choice of one of several texts. */
export function select(
	label: string,
	texts: readonly string[],
	chosen: number,
	onChange: (index: number) => void,
): HTMLElement {
	const element = h(
		"select",
		{},
		...texts.map((text, index) => h("option", { value: index, selected: index === chosen }, text)),
	);
	element.addEventListener("change", () => onChange(element.selectedIndex));
	return h("label", { class: "control" }, h("span", {}, label), element);
}

/** A labelled slider over the coordinates 0 up to but not including `size`. */
export function slider(
	label: string,
	size: number,
	value: number,
	onChange: (value: number) => void,
	describe: (value: number) => string = String,
): HTMLElement {
	const input = h("input", { type: "range", min: 0, max: size - 1, step: 1, value });
	const output = h("output", {}, describe(value));
	setAttributes(input, { "aria-valuetext": describe(value) });
	input.addEventListener("input", () => {
		output.textContent = describe(Number(input.value));
		setAttributes(input, { "aria-valuetext": describe(Number(input.value)) });
	});
	input.addEventListener("change", () => onChange(Number(input.value)));
	return h("label", { class: "control" }, h("span", {}, label), input, output);
}

/** A button with a text. */
export function button(text: string, onClick: () => void): HTMLButtonElement {
	const element = h("button", { type: "button", class: "button" }, text);
	element.addEventListener("click", onClick);
	return element;
}

/** Exchanges the controls in a container; the one in the place of the one that had the focus gets it. */
export function replaceKeepingFocus(container: HTMLElement, next: readonly HTMLElement[]): void {
	const focused = [...container.children].findIndex((child) =>
		child.contains(document.activeElement),
	);
	container.replaceChildren(...next);
	if (focused < 0) return;
	next[focused]?.querySelector<HTMLElement>("select, input, button")?.focus();
}
