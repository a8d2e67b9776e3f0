import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { isTaken } from "../../src/files/is-taken.ts";

const directory = mkdtempSync(join(tmpdir(), "hf-stream-dcp-taken-"));

afterAll(() => rmSync(directory, { recursive: true }));

test.each([
	["EEXIST", directory, true],
	["EPERM", directory, true],
	["EPERM", join(directory, "missing"), false],
	["ENOENT", directory, false],
])("%s for %s", async (code, path, expected) => {
	expect(await isTaken(Object.assign(new Error(code), { code }), path)).toBe(expected);
});
