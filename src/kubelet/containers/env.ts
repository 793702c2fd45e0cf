import type { ConfigMap, EnvFromSource, EnvVar, Pod, Secret } from '../../kube/index.ts';
import type { Notice } from '../materials.ts';
import { configError } from './errors.ts';
import { expand } from './expansion.ts';
import { defaultLimits, type FieldContext, podField, resourceField } from './fields.ts';
import type { AnyContainer } from './spec.ts';

/** A ConfigMap or Secret a container's environment names. */
export interface EnvReference {
  kind: 'ConfigMap' | 'Secret';
  name: string;
  optional: boolean;
}

/** What was found for a reference: undefined if there is no such object. */
export type Resolved = (kind: 'ConfigMap' | 'Secret', name: string) => ConfigMap | Secret | undefined;

/** One value may not outgrow what execve takes by far; `$(A)$(A)` chains double with each step. */
const MAX_VALUE = 1024 * 1024;
const MAX_TOTAL = 8 * MAX_VALUE;

/** All objects a container's environment needs, each once; optional only if every use is. */
export function envReferences(container: AnyContainer): EnvReference[] {
  const found = new Map<string, EnvReference>();
  const note = (kind: EnvReference['kind'], ref: { name?: string; optional?: boolean } | undefined) => {
    if (!ref?.name) return;
    const key = `${kind}/${ref.name}`;
    const optional = ref.optional === true && (found.get(key)?.optional ?? true);
    found.set(key, { kind, name: ref.name, optional });
  };
  for (const from of container.envFrom ?? []) {
    note('ConfigMap', from.configMapRef);
    note('Secret', from.secretRef);
  }
  for (const { value, valueFrom } of container.env ?? []) {
    if (value) continue;
    note('ConfigMap', valueFrom?.configMapKeyRef);
    note('Secret', valueFrom?.secretKeyRef);
  }
  return [...found.values()];
}

export interface EnvContext extends FieldContext {
  pod: Pod;
  container: AnyContainer;
  resolved: Resolved;
  serviceVariables: ReadonlyMap<string, string>;
  allocatable: Readonly<Record<string, string>>;
  /** Names of any printable characters but `=` (servers from 1.32); else C identifiers with `-` and `.`. */
  relaxedNames: boolean;
}

export interface Environment {
  variables: Map<string, string>;
  notices: Notice[];
}

/**
 * A container's environment in the kubelet's order of precedence: envFrom, then env over it, then Services' variables
 * for names still free. Throws `CONTAINER_CONFIG` with upstream's text.
 */
export function makeEnvironment(context: EnvContext): Environment {
  const { pod, container, serviceVariables } = context;
  const variables = new Map<string, string>();
  const notices: Notice[] = [];
  let total = 0;
  const set = (name: string, value: string) => {
    total += value.length;
    if (value.length > MAX_VALUE || total > MAX_TOTAL)
      throw configError(
        `environment variable ${name.slice(0, 128)} makes the environment too large to start a process with`,
      );
    variables.set(name, value);
  };
  for (const from of container.envFrom ?? []) {
    const skipped: string[] = [];
    for (const [key, value] of fromEntries(from, context)) {
      const name = `${from.prefix ?? ''}${key}`;
      if (validName(name, context.relaxedNames)) set(name, value);
      else skipped.push(name);
    }
    if (skipped.length > 0) notices.push(skippedNotice(pod, from, skipped.sort()));
  }
  const lookup = (name: string) => variables.get(name) ?? serviceVariables.get(name);
  for (const entry of container.env ?? []) {
    const value = entry.value ? expand(entry.value, lookup, MAX_VALUE) : sourceValue(entry, context);
    if (value !== undefined) set(entry.name, value);
  }
  for (const [name, value] of serviceVariables) if (!variables.has(name)) set(name, value);
  return { variables, notices };
}

function fromEntries(from: EnvFromSource, { resolved }: EnvContext): [string, string][] {
  const kind = from.configMapRef ? 'ConfigMap' : 'Secret';
  const ref = from.configMapRef ?? from.secretRef;
  if (!ref) return [];
  const object = resolved(kind, ref.name ?? '');
  if (object === undefined) {
    if (ref.optional) return [];
    throw notFound(kind, ref.name ?? '');
  }
  if (kind === 'ConfigMap') return Object.entries((object as ConfigMap).data ?? {});
  return Object.entries((object as Secret).data ?? {}).map(([k, v]) => [k, decode(v)]);
}

function sourceValue(entry: EnvVar, context: EnvContext): string | undefined {
  const from = entry.valueFrom;
  if (!from) return '';
  if (from.fieldRef) return podField(context.pod, from.fieldRef.fieldPath ?? '', context);
  if (from.resourceFieldRef)
    return resourceField(
      context.pod,
      context.container,
      from.resourceFieldRef,
      defaultLimits(context.pod, context.allocatable),
    );
  if (from.configMapKeyRef) return keyValue('ConfigMap', from.configMapKeyRef, context);
  if (from.secretKeyRef) return keyValue('Secret', from.secretKeyRef, context);
  const unknown = Object.keys(from)[0];
  if (unknown !== undefined)
    throw configError(`environment variable ${entry.name}: source ${unknown.slice(0, 64)} is not supported`);
  return '';
}

function keyValue(
  kind: 'ConfigMap' | 'Secret',
  ref: { name?: string; key: string; optional?: boolean },
  { pod, resolved }: EnvContext,
): string | undefined {
  const name = ref.name ?? '';
  const object = resolved(kind, name);
  if (object === undefined) {
    if (ref.optional) return undefined;
    throw notFound(kind, name);
  }
  const data = object.data ?? {};
  if (Object.hasOwn(data, ref.key)) {
    const value = data[ref.key] as string;
    return kind === 'Secret' ? decode(value) : value;
  }
  if (ref.optional) return undefined;
  throw configError(`couldn't find key ${ref.key} in ${kind} ${pod.metadata.namespace}/${name}`);
}

function notFound(kind: 'ConfigMap' | 'Secret', name: string) {
  return configError(`${kind.toLowerCase()} "${name}" not found`);
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

function validName(name: string, relaxed: boolean): boolean {
  if (relaxed) return name.length > 0 && /^[\x20-\x3c\x3e-\x7e]+$/.test(name);
  return /^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name) && name !== '.' && name !== '..';
}

function skippedNotice(pod: Pod, from: EnvFromSource, keys: string[]): Notice {
  const [kind, name] = from.configMapRef ? ['configMap', from.configMapRef.name] : ['secret', from.secretRef?.name];
  return {
    type: 'Warning',
    reason: 'InvalidEnvironmentVariableNames',
    message:
      `Keys [${keys.join(', ')}] from the EnvFrom ${kind} ${pod.metadata.namespace}/${name} were skipped since they are considered invalid environment variable names.`.slice(
        0,
        1024,
      ),
  };
}
