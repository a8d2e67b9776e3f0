import type { Reporter, TestCase, TestModule } from "vitest/node";

/**
 * Ends a run with what was skipped (the names of suites say why) and with one plain line, `N passed, N failed, N skipped`,
 * that any CI can read.
 */
export default class ClosingLineReporter implements Reporter {
	onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
		const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
		const skipped = new Set<string>();
		for (const module of modules) {
			let tests = 0;
			for (const test of module.children.allTests()) {
				const { state } = test.result();
				counts[state]++;
				tests++;
				if (state === "skipped")
					skipped.add(`skipped: ${module.relativeModuleId}: ${outerName(test)}`);
			}
			if (tests === 0 && module.state() === "failed") counts.failed++;
		}
		const { passed, failed } = counts;
		const lines = [...skipped, `${passed} passed, ${failed} failed, ${counts.skipped} skipped`];
		process.stdout.write(`\n${lines.join("\n")}\n`);
	}
}

/** Name of the outermost suite a test is in; its own when it is in none. */
function outerName(test: TestCase): string {
	let outer: { readonly name: string } = test;
	for (let parent = test.parent; parent.type === "suite"; parent = parent.parent) outer = parent;
	return outer.name;
}
