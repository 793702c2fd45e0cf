import { type Kind, Wrong } from './kinds.ts';

/** How long pods of a priority, and above up to the next entry, may take to end. */
export interface PriorityGrace {
  readonly priority: number;
  readonly seconds: number;
}

/** The same, or undefined while nobody says anything. */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return { ...kind, show: (value) => (value === undefined ? '' : kind.show(value)) };
}

/** shutdownGracePeriodByPodPriority. */
export const priorityGraces: Kind<readonly PriorityGrace[]> = {
  name: 'a list of priority and shutdownGracePeriodSeconds',
  flag: () => {
    throw new Wrong('can only be given in a file');
  },
  json: (value) => {
    if (!Array.isArray(value)) throw new Wrong('must be a list of priority and shutdownGracePeriodSeconds');
    return value.map((item: { priority?: unknown; shutdownGracePeriodSeconds?: unknown } | null) => {
      const { priority = 0, shutdownGracePeriodSeconds: seconds = 0 } = item ?? {};
      if (!isInt(priority) || !isInt(seconds) || seconds < 0)
        throw new Wrong('must have whole numbers for priority and shutdownGracePeriodSeconds');
      return { priority, seconds };
    });
  },
  show: (value) => value.map((one) => `${one.priority}: ${one.seconds}s`).join(', ') || 'none',
};

function isInt(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value);
}
