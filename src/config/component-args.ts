/**
 * `--kubelet-arg` and `--kube-proxy-arg` over their defaults, as k3s's pkg/util/args.go merges them: `key=v` replaces
 * the default and adds a value each time it is repeated; `key+=v` adds after the default, `key-=v` puts before it; no
 * `=` means `true`. Keys are without dashes, sorted.
 */
export function mergeComponentArgs(
  defaults: Readonly<Record<string, string>>,
  extra: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const left = new Map(Object.entries(defaults));
  const merged = new Map<string, string[]>();
  for (const arg of extra) {
    const bare = arg.startsWith('--') ? arg.slice(2) : arg;
    const at = bare.indexOf('=');
    const written = at < 0 ? bare : bare.slice(0, at);
    const value = at < 0 ? 'true' : bare.slice(at + 1);
    const key = written.replace(/[-+]+$/, '');
    const byDefault = left.has(key) ? [left.get(key)!] : [];
    const before = merged.get(key) ?? [];
    left.delete(key);
    if (written.endsWith('+')) merged.set(key, [...byDefault, ...before, value]);
    else if (written.endsWith('-')) merged.set(key, [value, ...byDefault, ...before]);
    else merged.set(key, [...before, value]);
  }
  for (const [key, value] of left) merged.set(key, [value]);
  return new Map([...merged].sort(([a], [b]) => (a < b ? -1 : 1)));
}
