import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with one plain line, `N passed, N failed, N skipped`, that any CI can read. */
export default class ClosingLineReporter implements Reporter {
	onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
		const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
		for (const module of modules) {
			let tests = 0;
			for (const test of module.children.allTests()) {
				counts[test.result().state]++;
				tests++;
			}
			if (tests === 0 && module.state() === "failed") counts.failed++;
		}
		const { passed, failed, skipped } = counts;
		process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
	}
}
