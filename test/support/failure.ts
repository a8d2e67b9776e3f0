import { type HfStreamDcpError, isHfStreamDcpError } from "../../src/core/errors.ts";

/** The error of ours that `action` rejects with; anything else is thrown, a success as well. */
export async function failure(action: Promise<unknown>): Promise<HfStreamDcpError> {
	const error: unknown = await action.then(
		() => new Error("no error"),
		(reason: unknown) => reason,
	);
	if (isHfStreamDcpError(error)) return error;
	throw error;
}
