import { isHfStreamDcpError } from "../../core/errors.ts";
import { openGpu } from "./open-device.ts";

/** No device is called so. */
const NO_SUCH_NAME = "\u0001";

/**
 * Names of all devices that the drivers offer. WebGPU has no call for it, but the package lists them when none has the name that is
 * asked for.
 *
 * Native code runs here, as in {@link openGpu}.
 *
 * @throws {HfStreamDcpError} `DEVICE_UNAVAILABLE` when the package cannot be loaded.
 */
export async function listAdapters(): Promise<readonly string[]> {
	try {
		await using _ = await openGpu({ adapter: NO_SUCH_NAME });
		return [];
	} catch (error) {
		if (isHfStreamDcpError(error) && error.facts["step"] === "package") throw error;
		const message = isHfStreamDcpError(error) ? messageOf(error.cause) : messageOf(error);
		return parseAdapters(message);
	}
}

/** Names in the package's message, a line ` * backend: 'vulkan', name: 'NVIDIA H200'` for each. */
export function parseAdapters(message: string): readonly string[] {
	return [...message.matchAll(/^ \* backend: '[^']*', name: '(.*)'$/gm)].map(
		([, name = ""]) => name,
	);
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : "";
}
