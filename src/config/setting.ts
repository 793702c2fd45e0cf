import { AgentError } from '../core/index.ts';
import type { FieldShape } from './fields.ts';

/** One value as somebody wrote it, and where: `--server`, `K3S_URL`, `/etc/rancher/k3s/config.yaml:3`. */
export interface Setting {
  readonly field: FieldShape;
  readonly text: string;
  readonly source: string;
}

/** `CONFIG_INVALID`: names the field, where it was set, and what would be right. The value of a secret is not shown. */
export function invalid(setting: Setting, problem: string, remedy?: string): AgentError {
  const { field, text, source } = setting;
  const shown = field.secret ? '' : ` "${text.length > 80 ? `${text.slice(0, 80)}…` : text}"`;
  return new AgentError({
    code: 'CONFIG_INVALID',
    message: `${nameOf(field)}${shown} (from ${source}): ${problem}`,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

export function nameOf(field: FieldShape): string {
  return field.flag.length === 1 ? `-${field.flag}` : `--${field.flag}`;
}
