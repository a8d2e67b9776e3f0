import { toJsonSchema } from "@valibot/to-json-schema";
import { expect, test } from "vitest";
import { RECURSIVE, writtenFamilySchema } from "../../src/models/schema/entries.ts";

/** The JSON Schema of a family file, made of the schema that reads one. */
function familyJsonSchema(): object {
	return toJsonSchema(writtenFamilySchema, {
		typeMode: "input",
		errorMode: "throw",
		ignoreActions: ["readonly"],
		definitions: RECURSIVE,
		overrideSchema: ({ valibotSchema }) => {
			if (valibotSchema !== RECURSIVE.template) return undefined;
			// Which of them it is, the program asks the value itself; JSON Schema cannot.
			return { anyOf: [{ $ref: "#/$defs/pattern" }, { $ref: "#/$defs/templateNode" }] };
		},
	});
}

test("docs/family.schema.json is the schema that reads family files", async () => {
	const text = `${JSON.stringify(familyJsonSchema(), undefined, "\t")}\n`;
	await expect(text).toMatchFileSnapshot("../../docs/family.schema.json");
});
