export interface Column {
  name: string;
  type: string;
  format: string;
  description: string;
  /** 0: always shown; 1: with `-o wide`. */
  priority: number;
}

/** `Name` → the name column; a trailing `+` marks one for `-o wide`; `:integer` and so on give the type. */
export function columns(...names: string[]): Column[] {
  return names.map((text) => {
    const [, name = '', type = 'string', wide] = /^(.+?)(?::(\w+))?(\+)?$/.exec(text) ?? [];
    return { name, type, format: name === 'Name' ? 'name' : '', description: '', priority: wide ? 1 : 0 };
  });
}

/** Time since a timestamp as kubectl shows it: `45s`, `3m12s`, `5h20m`, `3d4h`, `2y30d`. */
export function age(at: string | undefined | null, now = Date.now()): string {
  if (!at) return '<unknown>';
  return duration(now - Date.parse(at));
}

/** k8s.io/apimachinery duration.HumanDuration. */
export function duration(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s < -1) return '<invalid>';
  if (s < 0) return '0s';
  if (s < 120) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 10) return s % 60 === 0 ? `${m}m` : `${m}m${s % 60}s`;
  if (m < 180) return `${m}m`;
  const h = Math.floor(m / 60);
  if (h < 8) return m % 60 === 0 ? `${h}h` : `${h}h${m % 60}m`;
  if (h < 48) return `${h}h`;
  const d = Math.floor(h / 24);
  if (h < 192) return h % 24 === 0 ? `${d}d` : `${d}d${h % 24}h`;
  if (d < 730) return `${d}d`;
  const y = Math.floor(d / 365);
  if (d < 2920) return d % 365 === 0 ? `${y}y` : `${y}y${d % 365}d`;
  return `${y}y`;
}

export const orNone = (text: string | undefined) => text || '<none>';
