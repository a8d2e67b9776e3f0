import { homedir } from "node:os";
import { expect, test } from "vitest";
import { expandHome } from "../../src/cli/expand-home.ts";

test.each([
	["~", "/home/me"],
	["~/ckpt", "/home/me/ckpt"],
	["~other/ckpt", "~other/ckpt"],
	["./~/ckpt", "./~/ckpt"],
	["org/name", "org/name"],
])("%s is %s", (text, path) => {
	expect(expandHome(text, { HOME: "/home/me" })).toBe(path);
});

test("without HOME, the home of the account", () => {
	expect(expandHome("~", {})).toBe(homedir());
});
