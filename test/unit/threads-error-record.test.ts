import { describe, expect, test } from "vitest";
import { renderError } from "../../src/cli/render-error.ts";
import { HfStreamDcpError, isHfStreamDcpError } from "../../src/core/errors.ts";
import { errorOf, recordOf } from "../../src/threads/error-record.ts";

/** As it arrives in another thread. */
function cross(thrown: unknown): Error {
	return errorOf(structuredClone(recordOf(thrown)));
}

const full = new HfStreamDcpError(
	"OUTPUT_WRITE",
	"cannot write /ckpt/__0_0.distcp: the disk is full",
	{
		hint: "Free space there.",
		retryable: true,
		facts: { errno: "ENOSPC", bytes: 7, handle: () => {} },
		cause: new Error("ENOSPC: no space left on device, write", { cause: "a reason that is text" }),
	},
);

describe("an error from another thread", () => {
	test("is of the same kind, with its code, hint and facts", () => {
		const error = cross(full);
		expect(isHfStreamDcpError(error, "OUTPUT_WRITE")).toBe(true);
		const { code, hint, retryable, message } = full;
		expect(error).toMatchObject({ code, hint, retryable, message });
		// A function is no data; it becomes text.
		expect((error as HfStreamDcpError).facts).toEqual({
			errno: "ENOSPC",
			bytes: 7,
			handle: "[Function: handle]",
		});
	});

	test.each(["text", "json"] as const)("looks the same to the user, as %s", (format) => {
		expect(renderError(cross(full), format)).toEqual(renderError(full, format));
	});

	test("keeps its stack when it is a bug of ours", () => {
		const bug = new RangeError("internal error: index 3");
		expect(renderError(cross(bug), "text")).toEqual(renderError(bug, "text"));
		expect(cross(bug).name).toBe("RangeError");
	});

	test("may be caused by itself, or be no error at all", () => {
		const circular = new Error("circle");
		circular.cause = circular;
		expect(cross(circular).message).toBe("circle");
		expect(cross("just text").message).toBe("just text");
		expect(cross({ odd: 1 }).message).toBe("{ odd: 1 }");
	});
});
