import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Tests that need only Node. The oracles (real torch, real huggingface_hub) skip visibly without their tools, and fail in CI. */
const config: ViteUserConfig = defineConfig({
	test: {
		include: ["test/**/*.test.ts"],
		globalSetup: ["./test/support/build-kernels.ts"],
		testTimeout: 60_000,
		hookTimeout: 120_000,
		reporters: ["default", "./test/support/closing-line-reporter.ts"],
		maxWorkers: 2,
	},
});

export default config;
