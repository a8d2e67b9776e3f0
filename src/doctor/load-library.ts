import { spawn } from "node:child_process";

/** Loads the library that it is given; what Node says of one that is no addon of its own means that it was loaded. */
const SCRIPT = `
	try {
		process.dlopen({ exports: {} }, process.argv[1]);
	} catch (error) {
		if (!/did not self-register/.test(error.message)) process.stdout.write(error.message);
	}
`;

/** A driver that takes longer to load hangs. */
const TIMEOUT_MS = 20_000;

/**
 * Has a process of its own load a library: the dynamic linker names the one that is missing, also of those that it needs in turn.
 *
 * @returns What is wrong; `undefined` when it was loaded.
 */
export function tryLibrary(path: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
	return new Promise((resolve) => {
		const child = spawn(process.execPath, ["--eval", SCRIPT, path], {
			env,
			stdio: ["ignore", "pipe", "ignore"],
			timeout: TIMEOUT_MS,
			killSignal: "SIGKILL",
		});
		let said = "";
		child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
		child.on("error", (error) => resolve(error.message));
		child.on("close", (_code, killedBy) => {
			if (said !== "") resolve(said.trim());
			else resolve(killedBy === null ? undefined : `loading it ended by ${killedBy}`);
		});
	});
}
