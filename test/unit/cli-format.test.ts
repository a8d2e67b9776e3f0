import { expect, test } from "vitest";
import {
	formatBytes,
	formatDuration,
	formatMemory,
	formatTable,
	plural,
} from "../../src/cli/format.ts";

test.each([
	[0, "0 B"],
	[999, "999 B"],
	[1000, "1.00 kB"],
	[9_994, "9.99 kB"],
	[9_995, "10.0 kB"],
	[99_950, "100 kB"],
	[999_499, "999 kB"],
	[999_500, "1.00 MB"],
	[217_000_000_000, "217 GB"],
	[1e18, "1000 PB"],
])("%i bytes are %s", (bytes, text) => {
	expect(formatBytes(bytes)).toBe(text);
});

test.each([
	[65_536, "64 KiB"],
	[536_870_912, "512 MiB"],
	[1_610_612_736, "1.50 GiB"],
])("%i bytes of memory are %s", (bytes, text) => {
	expect(formatMemory(bytes)).toBe(text);
});

test.each([
	[-1, "0 s"],
	[0.44, "0.4 s"],
	[9.96, "10 s"],
	[59.4, "59 s"],
	[59.5, "1:00"],
	[155, "2:35"],
	[3755, "1:02:35"],
])("%f seconds are %s", (seconds, text) => {
	expect(formatDuration(seconds)).toBe(text);
});

test("counts agree with their noun", () => {
	expect(plural(1, "entry", "entries")).toBe("1 entry");
	expect(plural(96_000, "entry", "entries")).toBe("96,000 entries");
});

test("tables align their columns", () => {
	expect(
		formatTable(
			[
				["name", "size"],
				["a", "10"],
				["longer", "9"],
			],
			[1],
		),
	).toBe("name    size\na         10\nlonger     9");
});
