/** How to add the optional package; the range is that of `peerDependencies`. */
export const INSTALL_COMMAND = "npm install webgpu@^0.6.2";

/** What to do about what the dynamic linker said when a binary was loaded; `undefined` when that names nothing. */
export function hintForLoadError(message: string): string | undefined {
	const needed = /version `((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found/.exec(message)?.[1];
	if (needed !== undefined) {
		return `This system is too old for the binary, which needs ${needed}: Debian 12 and Ubuntu 22.04 have it, with webgpu 0.6.2 or newer (0.6.1 and older need a newer system still).`;
	}
	const library = /(\S+\.so[\d.]*): cannot open shared object file/.exec(message)?.[1];
	if (library !== undefined) return `Install the package that has ${library}.`;
	return undefined;
}
