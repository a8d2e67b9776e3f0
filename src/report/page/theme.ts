import { h } from "./dom.ts";

function tell(): void {
	document.dispatchEvent(new Event("themechange"));
}

const THEMES = ["system", "light", "dark"] as const;

/** Chooses between the system's theme, light and dark. Canvases hear of a change by the event `themechange`. */
export function createThemeChoice(): HTMLElement {
	const root = document.documentElement;
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
	const choices = THEMES.map((theme) => {
		const input = h("input", {
			type: "radio",
			name: "theme",
			value: theme,
			checked: theme === "system",
		});
		input.addEventListener("change", () => {
			if (theme === "system") delete root.dataset["theme"];
			else root.dataset["theme"] = theme;
			tell();
		});
		return h("label", {}, input, h("span", {}, theme));
	});
	return h(
		"fieldset",
		{ class: "themes" },
		h("legend", { class: "visually-hidden" }, "Theme"),
		...choices,
	);
}
