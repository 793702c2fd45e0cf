export interface Cause {
  reason: 'FieldValueInvalid' | 'FieldValueRequired' | 'FieldValueForbidden' | 'FieldValueNotSupported';
  message: string;
  field: string;
}

/** A metav1.Status that is thrown and answered as it is. */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(init: { code: number; reason?: string; message: string; details?: Record<string, unknown> }) {
    super(init.message);
    this.code = init.code;
    this.reason = init.reason;
    this.details = init.details;
  }

  toJSON(): Record<string, unknown> {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason ? { reason: this.reason } : {}),
      ...(this.details ? { details: this.details } : {}),
      code: this.code,
    };
  }
}

/** What an error is about: the plural for most errors, the kind for validation errors. */
export interface About {
  group: string;
  plural: string;
  kind: string;
}

const details = (group: string, kind: string, name: string) => ({
  ...(name ? { name } : {}),
  ...(group ? { group } : {}),
  kind,
});
const qualified = (about: About) => (about.group ? `${about.plural}.${about.group}` : about.plural);

export const notFound = (about: About, name: string) =>
  new StatusError({
    code: 404,
    reason: 'NotFound',
    message: `${qualified(about)} "${name}" not found`,
    details: details(about.group, about.plural, name),
  });

export const unknownPath = () =>
  new StatusError({
    code: 404,
    reason: 'NotFound',
    message: 'the server could not find the requested resource',
    details: {},
  });

export const alreadyExists = (about: About, name: string) =>
  new StatusError({
    code: 409,
    reason: 'AlreadyExists',
    message: `${qualified(about)} "${name}" already exists`,
    details: details(about.group, about.plural, name),
  });

export const conflict = (
  about: About,
  name: string,
  why = 'the object has been modified; please apply your changes to the latest version and try again',
) =>
  new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${qualified(about)} "${name}": ${why}`,
    details: details(about.group, about.plural, name),
  });

export const forbidden = (about: About, name: string, why: string) =>
  new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `${qualified(about)}${name ? ` "${name}"` : ''} is forbidden: ${why}`,
    details: details(about.group, about.plural, name),
  });

export const invalid = (about: About, name: string, causes: readonly Cause[]) => {
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const kind = about.group ? `${about.kind}.${about.group}` : about.kind;
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `${kind} "${name}" is invalid: ${list}`,
    details: { ...details(about.group, about.kind, name), causes },
  });
};

export const badRequest = (message: string) => new StatusError({ code: 400, reason: 'BadRequest', message });
export const unauthorized = (message = 'Unauthorized') =>
  new StatusError({ code: 401, reason: 'Unauthorized', message });
export const expired = (message: string) => new StatusError({ code: 410, reason: 'Expired', message });
export const internal = (message: string) =>
  new StatusError({
    code: 500,
    reason: 'InternalError',
    message: `Internal error occurred: ${message}`,
    details: { causes: [{ message }] },
  });
export const unavailable = (message: string) => new StatusError({ code: 503, reason: 'ServiceUnavailable', message });
export const methodNotAllowed = () =>
  new StatusError({
    code: 405,
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
    details: {},
  });
export const unsupportedMediaType = (accepted: string) =>
  new StatusError({
    code: 415,
    reason: 'UnsupportedMediaType',
    message: `the body of the request was in an unknown format - accepted media types include: ${accepted}`,
  });

export const required = (field: string): Cause => ({ field, reason: 'FieldValueRequired', message: 'Required value' });
export const invalidValue = (field: string, value: unknown, why: string): Cause => ({
  field,
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});
export const forbiddenField = (field: string, why: string): Cause => ({
  field,
  reason: 'FieldValueForbidden',
  message: `Forbidden: ${why}`,
});
