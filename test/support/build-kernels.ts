import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Tests run on the sources: the kernels they load must be those of the sources too. */
export function setup(): void {
	execFileSync(process.execPath, [join(import.meta.dirname, "../../scripts/build-kernels.mjs")], {
		stdio: "inherit",
	});
}
