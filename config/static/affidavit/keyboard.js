// The monitor by keyboard: / searches, j and k walk a list, ? lists them all.
