// Preloaded into the measured process (`node --import`): when it ends, its peak resident memory goes to a file.
import { readFileSync, writeFileSync } from "node:fs";
import { platform, resourceUsage } from "node:process";

/** Peak resident set of this process, bytes. */
function peakRssBytes() {
	// VmHWM begins at exec; `maxRSS` may still hold the peak of the process that forked us.
	const peak =
		platform === "linux"
			? /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
			: resourceUsage().maxRSS;
	return Number(peak) * 1024;
}

const file = process.env["PEAK_RSS_FILE"];
if (file !== undefined) {
	process.once("exit", () => {
		writeFileSync(file, JSON.stringify({ peakRssBytes: peakRssBytes() }));
	});
}
