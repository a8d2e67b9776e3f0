import { toJsonSchema } from "@valibot/to-json-schema";
import { expect, test } from "vitest";
import { manifestFile, RECURSIVE } from "../../src/manifest/schema.ts";

test("docs/manifest.schema.json is the schema that manifests are checked with", async () => {
	const schema = toJsonSchema(manifestFile, {
		errorMode: "throw",
		ignoreActions: ["readonly", "finite"],
		definitions: RECURSIVE,
	});
	const text = `${JSON.stringify(schema, undefined, "\t")}\n`;
	await expect(text).toMatchFileSnapshot("../../docs/manifest.schema.json");
});
