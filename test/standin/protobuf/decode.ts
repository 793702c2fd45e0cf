import { microTimestamp, timestamp } from '../objects.ts';
import table from './fields.json' with { type: 'json' };
import { wireFields } from './wire.ts';

/**
 * Kubernetes' protobuf bodies, as typed Go clients send them, turned into the objects JSON would have carried. The
 * table holds number, name and type of the fields of each message (`*` list, `%` map from string).
 */
interface Field {
  name: string;
  kind: 'one' | 'list' | 'map';
  type: string;
}

type Message = ReadonlyMap<number, Field>;

const lines = table as Readonly<Record<string, string>>;
const parsed = new Map<string, Message>();

function messageOf(type: string): Message | undefined {
  const line = lines[type];
  if (line === undefined) return undefined;
  const known = parsed.get(type);
  if (known) return known;
  const message = new Map(
    line.split(' ').map((text) => {
      const [, number = '', name = '', mark, fieldType = ''] = /^(\d+)=(\w+):([*%]?)(.+)$/.exec(text) ?? [];
      const kind = mark === '*' ? 'list' : mark === '%' ? 'map' : 'one';
      return [Number(number), { name, kind, type: fieldType } as Field] as const;
    }),
  );
  parsed.set(type, message);
  return message;
}

/** Fields whose members belong to the message around them. */
const INLINE = new Set(['volumeSource', 'handler', 'ephemeralContainerCommon', 'persistentVolumeSource']);
const INLINE_REFERENCE = /^core\.(ConfigMap|Secret)(KeySelector|Projection|EnvSource|VolumeSource|NodeConfigSource)$/;

/**
 * Go writes numbers and booleans that are not set as zeros, unless they are pointers. These are pointers: their zeros
 * mean something.
 */
const ZERO_COUNTS = new Set(
  'replicas gracePeriodSeconds terminationGracePeriodSeconds deletionGracePeriodSeconds activeDeadlineSeconds backoffLimit completions parallelism defaultMode mode runAsUser runAsGroup fsGroup revisionHistoryLimit progressDeadlineSeconds partition ttlSecondsAfterFinished tolerationSeconds priority restartCount exitCode automountServiceAccountToken enableServiceLinks controller blockOwnerDeletion optional allowPrivilegeEscalation privileged runAsNonRoot readOnlyRootFilesystem immutable hostUsers shareProcessNamespace setHostnameAsFQDN suspend orphanDependents ready serving terminating started attachRequired podInfoOnMount leaseTransitions allowed'.split(
    ' ',
  ),
);

function decodeMessage(type: string, bytes: Buffer): unknown {
  const special = SPECIAL[type];
  if (special) return special(bytes);
  const message = messageOf(type);
  const out: Record<string, unknown> = {};
  for (const { number, value } of wireFields(bytes)) {
    const field = message?.get(number);
    if (field === undefined) continue; // newer than the table
    if (field.kind === 'map') {
      const [key, entry] = mapEntry(field.type, value as Buffer);
      out[field.name] = { ...(out[field.name] as object | undefined), [key]: entry };
      continue;
    }
    const decoded = decodeValue(field.type, value);
    if (field.kind === 'list') out[field.name] = [...((out[field.name] as unknown[] | undefined) ?? []), decoded];
    else if (INLINE.has(field.name) || (field.name === 'localObjectReference' && INLINE_REFERENCE.test(type)))
      Object.assign(out, decoded);
    else if (isSet(field.name, decoded)) out[field.name] = decoded;
  }
  // Named lists (`ExtraValue`) are plain lists in JSON.
  return message?.size === 1 && message.get(1)?.name === 'items' ? (out.items ?? []) : out;
}

function isSet(name: string, value: unknown): boolean {
  if (value === undefined || value === '') return false;
  return (value !== 0 && value !== false) || ZERO_COUNTS.has(name);
}

function mapEntry(type: string, bytes: Buffer): [string, unknown] {
  let key = '';
  let entry: unknown = type === 'string' || type === 'bytes' ? '' : {};
  for (const { number, value } of wireFields(bytes)) {
    if (number === 1) key = String(value);
    else entry = decodeValue(type, value);
  }
  return [key, entry];
}

function decodeValue(type: string, value: bigint | Buffer): unknown {
  switch (type) {
    case 'string':
      return value.toString();
    case 'bytes':
      return (value as Buffer).toString('base64');
    case 'bool':
      return value !== 0n;
    case 'int32':
    case 'int64':
    case 'uint32':
    case 'uint64':
      return Number(value);
    case 'double':
      return (value as Buffer).readDoubleLE();
    default:
      return decodeMessage(type, value as Buffer);
  }
}

const first = (bytes: Buffer, number: number) => wireFields(bytes).find((field) => field.number === number)?.value;

function milliseconds(bytes: Buffer): number | undefined {
  const seconds = first(bytes, 1);
  if (seconds === undefined || Number(seconds) < 0) return undefined;
  return Number(seconds) * 1000 + Math.floor(Number(first(bytes, 2) ?? 0n) / 1e6);
}

const SPECIAL: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  'meta.Time': (bytes) => {
    const at = milliseconds(bytes);
    return at === undefined ? undefined : timestamp(at);
  },
  'meta.MicroTime': (bytes) => {
    const at = milliseconds(bytes);
    return at === undefined ? undefined : microTimestamp(at);
  },
  'resource.Quantity': (bytes) => String(first(bytes, 1) ?? '0'),
  'intstr.IntOrString': (bytes) =>
    first(bytes, 1) === 1n ? String(first(bytes, 3) ?? '') : Number(first(bytes, 2) ?? 0n),
  'runtime.RawExtension': (bytes) => JSON.parse(String(first(bytes, 1) ?? 'null')),
  'meta.FieldsV1': () => undefined,
  'meta.Duration': (bytes) => `${Number(first(bytes, 1) ?? 0n) / 1e9}s`,
};

const MAGIC = Buffer.from('k8s\0');

/** Decodes a body of type `application/vnd.kubernetes.protobuf`. Throws if it is none, or of an unknown kind. */
export function decodeBody(body: Buffer): Record<string, unknown> {
  if (!body.subarray(0, 4).equals(MAGIC)) throw new Error('the body does not begin as protobuf of Kubernetes does');
  const envelope = body.subarray(4);
  const typeMeta = first(envelope, 1) as Buffer | undefined;
  const raw = (first(envelope, 2) as Buffer | undefined) ?? Buffer.alloc(0);
  const apiVersion = String((typeMeta && first(typeMeta, 1)) ?? '');
  const kind = String((typeMeta && first(typeMeta, 2)) ?? '');
  const decoded = decodeMessage(messageName(apiVersion, kind), raw) as Record<string, unknown>;
  return { ...decoded, apiVersion, kind };
}

function messageName(apiVersion: string, kind: string): string {
  if (kind === 'DeleteOptions') return 'meta.DeleteOptions';
  const group = apiVersion.includes('/') ? (apiVersion.split('.')[0]?.split('/')[0] ?? '') : 'core';
  const name = `${group}.${kind}`;
  if (lines[name] === undefined) throw new Error(`no protobuf form of ${apiVersion} ${kind} is known`);
  return name;
}
