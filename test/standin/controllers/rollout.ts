/** The sizes of a Deployment's ReplicaSets as they are, and the sizes they should have next. Pure. */

export interface SetSize {
  name: string;
  /** What it is told to have. */
  replicas: number;
  /** What it has. */
  pods: number;
  terminating: number;
  available: number;
  created: number;
}

export interface Strategy {
  type?: string;
  rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string };
}

export type Plan = { name: string; replicas: number }[];

/** The bounds in pods: a surge rounds up, unavailability down, and both can't be 0. */
export function resolveBounds(strategy: Strategy, replicas: number): { surge: number; unavailable: number } {
  if (strategy.type === 'Recreate') return { surge: 0, unavailable: 0 };
  const resolve = (value: number | string | undefined, round: (n: number) => number) =>
    typeof value === 'string' && value.endsWith('%')
      ? round((Number.parseFloat(value) * replicas) / 100)
      : Number(value ?? 0);
  const surge = resolve(strategy.rollingUpdate?.maxSurge, Math.ceil);
  const unavailable = resolve(strategy.rollingUpdate?.maxUnavailable, Math.floor);
  return surge === 0 && unavailable === 0 ? { surge: 0, unavailable: 1 } : { surge, unavailable };
}

export function planRollout(input: {
  replicas: number;
  strategy: Strategy;
  paused: boolean;
  current: SetSize | undefined;
  old: readonly SetSize[];
}): Plan {
  const { replicas, strategy, paused, current } = input;
  const old = [...input.old].sort((a, b) => a.created - b.created);
  if (!current || paused)
    return current && old.every((set) => set.replicas === 0) ? [{ name: current.name, replicas }] : [];
  if (strategy.type === 'Recreate') {
    const down = old.filter((set) => set.replicas > 0).map((set) => ({ name: set.name, replicas: 0 }));
    const gone = old.every((set) => set.replicas === 0 && set.pods === 0 && set.terminating === 0);
    return gone ? [{ name: current.name, replicas }] : down;
  }
  const { surge, unavailable } = resolveBounds(strategy, replicas);
  const total = current.replicas + old.reduce((sum, set) => sum + set.replicas, 0);
  const room = Math.max(0, replicas + surge - total);
  const next = current.replicas > replicas ? replicas : Math.min(replicas, current.replicas + room);
  return [{ name: current.name, replicas: next }, ...shrink(old, current, replicas - unavailable)];
}

/** Old sets give up what is not available first, then as much as stays above the minimum. */
function shrink(old: readonly SetSize[], current: SetSize, minAvailable: number): Plan {
  const oldReplicas = old.reduce((sum, set) => sum + set.replicas, 0);
  const newUnavailable = Math.max(0, current.replicas - current.available);
  let budget = Math.min(oldReplicas, oldReplicas + current.replicas - minAvailable - newUnavailable);
  const sizes = new Map(old.map((set) => [set.name, set.replicas]));
  const take = (set: SetSize, most: number) => {
    const n = Math.max(0, Math.min(budget, most, sizes.get(set.name) ?? 0));
    sizes.set(set.name, (sizes.get(set.name) ?? 0) - n);
    budget -= n;
    return n;
  };
  for (const set of old) take(set, set.replicas - set.available);
  let spare =
    old.reduce((sum, set) => sum + Math.min(set.available, sizes.get(set.name) ?? 0), 0) +
    current.available -
    minAvailable;
  for (const set of old) spare -= spare > 0 ? take(set, spare) : 0;
  return [...sizes].map(([name, replicas]) => ({ name, replicas }));
}
