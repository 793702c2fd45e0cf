/** What must happen to turn `current` into `desired`, by key; `same` decides whether a kept entry changed. */
export interface SetDiff<K, V> {
  added: [K, V][];
  changed: [K, V, V][];
  removed: [K, V][];
}

export function diffMaps<K, V>(
  current: ReadonlyMap<K, V>,
  desired: ReadonlyMap<K, V>,
  same: (a: V, b: V) => boolean,
): SetDiff<K, V> {
  const out: SetDiff<K, V> = { added: [], changed: [], removed: [] };
  for (const [key, value] of desired) {
    const old = current.get(key);
    if (old === undefined) out.added.push([key, value]);
    else if (!same(old, value)) out.changed.push([key, old, value]);
  }
  for (const [key, value] of current) if (!desired.has(key)) out.removed.push([key, value]);
  return out;
}
