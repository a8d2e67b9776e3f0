import { expect, test } from "vitest";
import { maxOpenFilesFor } from "../../src/dcp/open-file-limit.ts";

const limits = (soft: string): string =>
	`Limit                     Soft Limit           Hard Limit           Units     \nMax processes             95253                95253                processes \nMax open files            ${soft.padEnd(20)} 1048576              files     \n`;

test.each([
	[limits("256"), 128],
	[limits("1024"), 512],
	[limits("1048576"), 4096],
	[limits("unlimited"), 4096],
	[limits("1"), 1],
	["", 512],
	["nothing of the kind", 512],
])("%j: %i", (text, files) => {
	expect(maxOpenFilesFor(text)).toBe(files);
});
