import { homedir } from "node:os";
import type { CliIo } from "./io.ts";

/** `text` with a leading `~` replaced as the shell does it, which leaves the one of `--out=~/ckpt` alone. */
export function expandHome(text: string, env: CliIo["env"]): string {
	if (text !== "~" && !text.startsWith("~/")) return text;
	return (env["HOME"] || homedir()) + text.slice(1);
}
