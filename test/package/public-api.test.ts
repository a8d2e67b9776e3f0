import { expect, test } from "vitest";
import * as api from "../../src/index.ts";

test("the public names", () => {
	expect(Object.keys(api).toSorted()).toMatchInlineSnapshot();
});
