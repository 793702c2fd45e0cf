/** gRPC's name of a status as Go prints it in an error: `DEADLINE_EXCEEDED` → `DeadlineExceeded`. */
export function goStatus(status: string): string {
  if (status === 'CANCELLED') return 'Canceled';
  if (status === 'OK') return 'OK';
  return status.toLowerCase().replace(/(?:^|_)([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
