import { expect, test } from "vitest";
import { InterruptedError } from "../../src/cli/interrupt.ts";
import { renderError } from "../../src/cli/render-error.ts";
import { EXIT_CODES, type ErrorCode, HfStreamDcpError } from "../../src/core/errors.ts";

test("message, causes and hint, without a stack", () => {
	const root = new Error("connect ECONNREFUSED 127.0.0.1:1");
	const error = new HfStreamDcpError("NETWORK_FAILED", "model.safetensors could not be read", {
		hint: "Check the connection and run the same command again.",
		cause: new TypeError("fetch failed", { cause: root }),
	});
	expect(renderError(error, "text")).toEqual({
		text: [
			"error: model.safetensors could not be read",
			"  caused by: fetch failed",
			"  caused by: connect ECONNREFUSED 127.0.0.1:1",
			"hint: Check the connection and run the same command again.",
			"",
		].join("\n"),
		exitCode: 3,
	});
	expect(JSON.parse(renderError(error, "json").text)).toEqual({
		kind: "error",
		code: "NETWORK_FAILED",
		message: "model.safetensors could not be read",
		hint: "Check the connection and run the same command again.",
		causes: ["fetch failed", "connect ECONNREFUSED 127.0.0.1:1"],
		exitCode: 3,
	});
});

test.each(Object.keys(EXIT_CODES) as ErrorCode[])("%s has its class as exit code", (code) => {
	expect(renderError(new HfStreamDcpError(code, "x"), "text").exitCode).toBe(EXIT_CODES[code]);
});

test("a circle of causes ends", () => {
	const error = new HfStreamDcpError("HTTP_STATUS", "x");
	error.cause = error;
	expect(renderError(error, "text").text.split("\n").length).toBeLessThan(12);
});

test("a bug shows its stack and exits with 1", () => {
	const { text, exitCode } = renderError(new RangeError("index 3 outside a list of 2"), "text");
	expect(exitCode).toBe(1);
	expect(text).toMatch(
		/^internal error; please report this:\nRangeError: index 3 outside a list of 2\n\s+at /,
	);
});

test("as JSON, a bug has its stack and a wrong option its flag", () => {
	const bug: unknown = JSON.parse(renderError(new RangeError("no such index"), "json").text);
	expect(bug).toMatchObject({ exitCode: 1, stack: expect.stringMatching(/\n\s+at /) as unknown });
	const issues = [{ path: "parallelism.tp", message: "expected more" }];
	const wrong = new HfStreamDcpError("OPTIONS_INVALID", "x", { facts: { issues } });
	const { message, stack } = JSON.parse(renderError(wrong, "json").text) as {
		readonly message: string;
		readonly stack?: string;
	};
	expect(message).toBe("--tp: expected more");
	expect(stack).toBeUndefined();
});

test.each([
	["SIGINT", 130],
	["SIGTERM", 143],
] as const)("%s says nothing more and exits with %i", (signal, exitCode) => {
	expect(renderError(new InterruptedError(signal), "text")).toEqual({ text: "", exitCode });
});
