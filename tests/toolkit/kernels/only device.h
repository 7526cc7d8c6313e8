// Included by the device pass of sm_120; its name has a blank.
