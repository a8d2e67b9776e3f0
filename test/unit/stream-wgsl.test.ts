import { expect, test } from "vitest";
import { KERNELS } from "../../src/stream/webgpu/job-table.ts";
import { kernelSource } from "../../src/stream/webgpu/wgsl/kernels.ts";

test.each(KERNELS)("the text of %s is what was reviewed and run", async (name) => {
	await expect(kernelSource(name)).toMatchFileSnapshot(`../fixtures/wgsl/${name}.wgsl`);
});

test.each(KERNELS)("%s needs no float, no barrier and no feature", (name) => {
	const text = kernelSource(name);
	expect(text).not.toMatch(/\b(f16|f32|vec\d<f|enable|requires|workgroupBarrier|storageBarrier)\b/);
	// Every number says that it is an integer of 32 bits, or counts in a type.
	expect(text).not.toMatch(/\d\.\d/);
});
