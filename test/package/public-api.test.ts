import { expect, test } from "vitest";
import * as api from "../../src/index.ts";

test("the public names", () => {
	expect(Object.keys(api).toSorted()).toMatchInlineSnapshot(`
		[
		  "DEFAULT_CONNECTIONS",
		  "DEFAULT_LEASE_SECONDS",
		  "DEFAULT_MEMORY_BYTES",
		  "DEFAULT_SAMPLE",
		  "DEFAULT_TARGET",
		  "DTYPES",
		  "EXIT_CODES",
		  "HfStreamDcpError",
		  "LOCAL_WORKERS_VARIABLE",
		  "MANIFEST_NAME",
		  "PROBLEM_KINDS",
		  "STATE_NAME",
		  "VERSION",
		  "builtInFamily",
		  "checkFamily",
		  "convert",
		  "defineFamily",
		  "diagnose",
		  "identifyWorker",
		  "inspectCheckpoint",
		  "inspectSource",
		  "isFamilyFile",
		  "isHfStreamDcpError",
		  "lintCheckpoint",
		  "listFamilies",
		  "listTargets",
		  "parseConversionOptions",
		  "parseConvertOptions",
		  "parseLintOptions",
		  "parseSize",
		  "prepareConversion",
		  "readManifest",
		  "renderReport",
		  "reportOfCheckpoint",
		  "reportOfPlan",
		  "verifyAgainstCheckpoint",
		  "verifyAgainstSource",
		  "verifyCheckpoint",
		  "writeReport",
		]
	`);
});
