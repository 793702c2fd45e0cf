/** The candidate that differs least from `word`, if it is near enough to be a slip of the keyboard; else undefined. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const asked = word.toLowerCase().replaceAll('_', '-').slice(0, 64);
  let best: string | undefined;
  let bestCost = Math.max(1, Math.floor(asked.length / 3)) + 1;
  for (const candidate of candidates) {
    const cost = candidate.startsWith(asked) && asked.length >= 3 ? 1 : distance(asked, candidate);
    if (cost < bestCost) {
      best = candidate;
      bestCost = cost;
    }
  }
  return best;
}

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      next.push(cost);
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}
