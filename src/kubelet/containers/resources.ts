import { parseMilliCpu, parseQuantity } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { type AnyContainer, isSidecar, specOf } from './spec.ts';

/** Amounts by resource name: cpu in millicores, everything else in whole bytes or pieces. */
export type Amounts = Map<string, number>;

export function amountOf(name: string, quantity: string | number): number {
  return name === 'cpu' ? parseMilliCpu(quantity) : Math.ceil(parseQuantity(quantity));
}

export function parseAmounts(list: Readonly<Record<string, string | number>> | undefined): Amounts {
  const out: Amounts = new Map();
  for (const [name, quantity] of Object.entries(list ?? {})) out.set(name, amountOf(name, quantity));
  return out;
}

export function limitsOf(container: AnyContainer): Amounts {
  return parseAmounts(container.resources?.limits);
}

/** A limit without a request is a request too, as the API server's defaulting has it. */
export function requestsOf(container: AnyContainer): Amounts {
  return new Map([...limitsOf(container), ...parseAmounts(container.resources?.requests)]);
}

function add(into: Amounts, from: Amounts): void {
  for (const [name, value] of from) into.set(name, (into.get(name) ?? 0) + value);
}

function max(into: Amounts, from: Amounts): void {
  for (const [name, value] of from) into.set(name, Math.max(into.get(name) ?? 0, value));
}

/**
 * What the containers of a pod use at one time: each app container, then for each init container what it and the
 * sidecars before it use together (component-helpers resource/helpers.go).
 */
function needs(
  pod: Pod,
  of: (container: AnyContainer) => Amounts,
): { apps: Amounts[]; init: Amounts[]; sidecars: Amounts } {
  const sidecars: Amounts = new Map();
  const init = (pod.spec.initContainers ?? []).map((container) => {
    const together: Amounts = new Map(sidecars);
    add(together, of(container));
    if (isSidecar(container)) add(sidecars, of(container));
    return together;
  });
  return { apps: pod.spec.containers.map(of), init, sidecars };
}

/** App containers with sidecars, or an init container with the sidecars started before it, whichever is more. */
function total(pod: Pod, of: (container: AnyContainer) => Amounts): Amounts {
  const { apps, init, sidecars } = needs(pod, of);
  const running: Amounts = new Map();
  for (const amounts of apps) add(running, amounts);
  add(running, sidecars);
  for (const amounts of init) max(running, amounts);
  return running;
}

/** What may be set for a pod as a whole. */
function isPodLevel(name: string): boolean {
  return name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');
}

function override(amounts: Amounts, list: Readonly<Record<string, string | number>> | undefined): Amounts {
  for (const [name, value] of parseAmounts(list)) if (isPodLevel(name)) amounts.set(name, value);
  return amounts;
}

/** Requests of the whole pod. Overhead (RuntimeClass) is added unless told otherwise. */
export function podRequests(pod: Pod, options: { overhead?: boolean } = {}): Amounts {
  const level = specOf(pod).resources;
  const amounts = override(total(pod, requestsOf), level?.requests);
  // As the API server's defaulting has it: a limit is a request too where nobody asks for anything.
  for (const [name, value] of parseAmounts(level?.limits))
    if (isPodLevel(name) && !amounts.has(name)) amounts.set(name, value);
  if (options.overhead !== false) add(amounts, parseAmounts(pod.spec.overhead));
  return amounts;
}

/** Limits of the whole pod; a name is there only if something sets it. Overhead is added to what is limited. */
export function podLimits(pod: Pod, options: { overhead?: boolean } = {}): Amounts {
  const amounts = override(total(pod, limitsOf), specOf(pod).resources?.limits);
  if (options.overhead !== false)
    for (const [name, value] of parseAmounts(pod.spec.overhead)) {
      const limit = amounts.get(name) ?? 0;
      if (limit > 0) amounts.set(name, limit + value);
    }
  return amounts;
}

/** True if the sum of a pod's limits binds it: all containers have one, or the pod itself. */
export function isBounded(pod: Pod, name: 'cpu' | 'memory'): boolean {
  if ((parseAmounts(specOf(pod).resources?.limits).get(name) ?? 0) > 0) return true;
  const { apps, init } = needs(pod, limitsOf);
  return [...apps, ...init].every((amounts) => (amounts.get(name) ?? 0) > 0);
}

/** A container's limits; what it leaves out of cpu, memory and huge pages is what the pod as a whole may use. */
export function effectiveLimits(pod: Pod, container: AnyContainer): Amounts {
  const amounts = limitsOf(container);
  for (const [name, value] of parseAmounts(specOf(pod).resources?.limits))
    if (isPodLevel(name) && (amounts.get(name) ?? 0) === 0) amounts.set(name, value);
  return amounts;
}

/** Millicores to cgroup v1 shares: 1024 a core, 2 to 262144. */
export function milliCpuToShares(milli: number): number {
  return milli === 0 ? 2 : Math.min(262_144, Math.max(2, Math.floor((milli * 1024) / 1000)));
}

export const CPU_PERIOD_US = 100_000;

/** Millicores to microseconds of CPU in each 100 ms; 0 = no bound, else at least 1 ms. */
export function milliCpuToQuota(milli: number): number {
  return milli === 0 ? 0 : Math.max(1000, Math.floor((milli * CPU_PERIOD_US) / 1000));
}

/** `hugepages-2Mi` → 2097152; undefined for other resources. */
export function hugepageBytes(resource: string): number | undefined {
  if (!resource.startsWith('hugepages-')) return undefined;
  const bytes = parseQuantity(resource.slice('hugepages-'.length));
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}

/** 2097152 → `2MB`: how the kernel's hugetlb controller names page sizes. */
export function hugepageUnit(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && size % 1024 === 0 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size}${units[unit]}`;
}

/** Limits by the kernel's page size name. */
export function hugepageLimits(amounts: Amounts): Map<string, number> {
  const out = new Map<string, number>();
  for (const [name, value] of amounts) {
    const bytes = hugepageBytes(name);
    if (bytes !== undefined) out.set(hugepageUnit(bytes), value);
  }
  return out;
}
