import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Tests run on the sources: the kernels they load, and the page they open, must be those of the sources too. */
export function setup(): void {
	for (const script of ["build-kernels.mjs", "build-page.mjs"]) {
		execFileSync(process.execPath, [join(import.meta.dirname, "../../scripts", script)], {
			stdio: "inherit",
		});
	}
}
