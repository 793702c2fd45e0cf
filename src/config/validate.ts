import { familyOf } from '../core/index.ts';
import type { Check, FieldShape } from './fields.ts';
import { checkLabel, checkNodeName, checkTaint } from './node-values.ts';
import { invalid, type Setting } from './setting.ts';

export type Value = string | number | boolean | readonly string[] | undefined;

/** The typed, checked value of a field from its settings, weakest first. Throws `CONFIG_INVALID`. */
export function fieldValue(field: FieldShape, settings: readonly Setting[]): Value {
  if (field.list) return settings.flatMap(items);
  const last = settings.at(-1);
  if (last === undefined) return field.default ?? (field.type === 'bool' ? false : undefined);
  if (field.type === 'bool') return parseBool(last);
  if (field.type === 'int') return parseInteger(last);
  if (last.text === '') return field.default;
  check(field.check, last, last.text);
  return field.check === 'nodeName' ? last.text.toLowerCase() : last.text;
}

/** Address and DNS lists are the only ones that k3s splits at commas. */
function items(setting: Setting): string[] {
  const { field, text } = setting;
  if (text === '') return [];
  const parts = field.check === 'ips' || field.check === 'dnsNames' ? text.split(',').map((p) => p.trim()) : [text];
  for (const part of parts) check(field.check, setting, part);
  return parts;
}

/** Go's strconv.ParseBool. */
function parseBool(setting: Setting): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(setting.text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(setting.text)) return false;
  throw invalid(setting, 'must be true or false');
}

/** Go's strconv.ParseInt with base 0. */
function parseInteger(setting: Setting): number {
  const m = /^([+-]?)(?:0x([0-9a-f_]+)|0b([01_]+)|0o?([0-7_]+)|([1-9][\d_]*|0))$/i.exec(setting.text);
  if (!m) throw invalid(setting, 'must be a whole number');
  const digits = (m[2] ?? m[3] ?? m[4] ?? m[5] ?? '').replaceAll('_', '');
  const value = Number.parseInt(digits, m[2] ? 16 : m[3] ? 2 : m[4] ? 8 : 10) * (m[1] === '-' ? -1 : 1);
  if (!Number.isSafeInteger(value)) throw invalid(setting, 'must be a whole number');
  if (setting.field.check === 'port' && (value < 0 || value > 65535))
    throw invalid(setting, 'must be a port number, 0 to 65535');
  return value;
}

function check(kind: Check | undefined, setting: Setting, text: string): void {
  switch (kind) {
    case undefined:
    case 'port':
      return;
    case 'url':
      checkUrl(setting, text);
      return;
    case 'ip':
    case 'ips':
      if (familyOf(text) === undefined) throw invalid(setting, `"${text.slice(0, 64)}" is not an IPv4 or IPv6 address`);
      return;
    case 'dnsNames':
      if (!/^[A-Za-z0-9*]([A-Za-z0-9.*-]{0,251}[A-Za-z0-9])?$/.test(text))
        throw invalid(setting, `"${text.slice(0, 64)}" is not a DNS name`);
      return;
    case 'label':
      checkLabel(setting, text);
      return;
    case 'taint':
      checkTaint(setting, text);
      return;
    case 'nodeName':
      checkNodeName(setting, text);
      return;
    case 'socket':
      if (!/^(unix:\/\/)?\//.test(text))
        throw invalid(setting, 'must be the path of a socket, such as /run/containerd/containerd.sock');
      return;
    case 'argument':
      if (!/^(--)?[A-Za-z0-9]/.test(text)) throw invalid(setting, 'must be name=value, without a space before it');
      return;
    default:
      kind satisfies never;
  }
}

function checkUrl(setting: Setting, text: string): void {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Handled below with the other wrong shapes.
  }
  if (url?.protocol === 'https:' && url.hostname !== '') {
    if (url.username !== '' || url.password !== '')
      throw invalid({ ...setting, text: `https://${url.host}` }, 'must not hold a user name or password');
    return;
  }
  const bare = text.replace(/^[a-z]+:\/\//i, '');
  const shown = /^[\w.:[\]-]*[.:][\w.:[\]-]*\/*$/.test(bare) ? `write https://${bare.replace(/\/+$/, '')}` : undefined;
  throw invalid(setting, 'must be an https:// URL, such as https://server.example:6443', shown);
}
