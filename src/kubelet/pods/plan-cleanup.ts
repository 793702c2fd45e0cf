import { isAlive } from './model.ts';
import type { Plan, PlanInput } from './plan-types.ts';

/**
 * Dead containers: the newest of each name stays for its status, as many older ones as the node is told to keep (one, for
 * `kubectl logs --previous`) stay too, the others go. Sandboxes that are down and empty go, save the newest. Of an ending pod everything goes.
 */
export function planCleanup(input: PlanInput, plan: Plan): void {
  const { view, ending, olderKept = 1 } = input;
  if (ending !== undefined) {
    if (!ending.gone) return;
    // Removing a sandbox removes its containers too.
    for (const sandbox of view.sandboxes) if (!sandbox.ready) plan.steps.push({ do: 'removeSandbox', id: sandbox.id });
    const known = new Set(view.sandboxes.map((s) => s.id));
    for (const container of view.containers)
      if (!known.has(container.sandboxId) && !isAlive(container))
        plan.steps.push({ do: 'removeContainer', id: container.id });
    return;
  }
  const kept = olderKept < 0 ? Number.POSITIVE_INFINITY : olderKept;
  const seen = new Map<string, number>();
  const doomed = new Set<string>();
  for (const container of view.containers) {
    const newer = seen.get(container.name) ?? 0;
    if (!container.cutOff) seen.set(container.name, newer + 1);
    if (isAlive(container) || (newer <= kept && !container.cutOff)) continue;
    doomed.add(container.id);
    plan.steps.push({ do: 'removeContainer', id: container.id });
  }
  for (const sandbox of view.sandboxes.slice(1)) {
    const inhabited = view.containers.some((c) => c.sandboxId === sandbox.id && !doomed.has(c.id));
    if (!sandbox.ready && !inhabited) plan.steps.push({ do: 'removeSandbox', id: sandbox.id });
  }
}
