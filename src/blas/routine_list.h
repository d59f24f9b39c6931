/* routine_list.h - every BLAS routine that is known here: a line each. To add one: add its line. */
/* SPDX-License-Identifier: MIT */

/* ROUTINE(name, pattern, types, arguments, sum, traits, operands...); routine.h says what the letters mean. */

/* Level 3 */
ROUTINE("gemm", "?gemm", "sdcz", "otrMNK*AB+C", GEMM, 0, MATRIX('A', 'M', 'K', 't'), MATRIX('B', 'K', 'N', 'r'),
        RESULT('C', GENERAL, 'M', 'N'))
ROUTINE("gemm3m", "?gemm3m", "cz", "otrMNK*AB+C", GEMM, THREE_PRODUCTS, MATRIX('A', 'M', 'K', 't'),
        MATRIX('B', 'K', 'N', 'r'), RESULT('C', GENERAL, 'M', 'N')) /* an extension: OpenBLAS, BLIS, MKL */
ROUTINE("symm", "?symm", "sdcz", "osuMN*AB+C", SIDE, 0, SQUARE('A', SYMMETRIC, FULL, 'S'), MATRIX('B', 'M', 'N', 0),
        RESULT('C', GENERAL, 'M', 'N'))
ROUTINE("hemm", "?hemm", "cz", "osuMN*AB+C", SIDE, 0, SQUARE('A', HERMITIAN, FULL, 'S'), MATRIX('B', 'M', 'N', 0),
        RESULT('C', GENERAL, 'M', 'N'))
ROUTINE("syrk", "?syrk", "sdcz", "outNK*A+C", RANK_K, 0, MATRIX('A', 'N', 'K', 't'), RESULT('C', SYMMETRIC, 'N', 'N'))
ROUTINE("herk", "?herk", "cz", "outNK*A+C", RANK_K, CONJUGATES | REAL_ALPHA | REAL_BETA, MATRIX('A', 'N', 'K', 't'),
        RESULT('C', HERMITIAN, 'N', 'N'))
ROUTINE("syr2k", "?syr2k", "sdcz", "outNK*AB+C", RANK_2K, 0, MATRIX('A', 'N', 'K', 't'), MATRIX('B', 'N', 'K', 't'),
        RESULT('C', SYMMETRIC, 'N', 'N'))
ROUTINE("her2k", "?her2k", "cz", "outNK*AB+C", RANK_2K, CONJUGATES | REAL_BETA, MATRIX('A', 'N', 'K', 't'),
        MATRIX('B', 'N', 'K', 't'), RESULT('C', HERMITIAN, 'N', 'N'))
ROUTINE("trmm", "?trmm", "sdcz", "osutdMN*AB", TRIANGLE, 0, SQUARE('A', TRIANGULAR, FULL, 'S'),
        {'B', GMM_FORM_GENERAL, GMM_STORED_FULL, 'M', 'N', 0, GMM_UPDATE_ALPHA})
ROUTINE("trsm", "?trsm", "sdcz", "osutdMN*AB", SOLVE, 0, SQUARE('A', TRIANGULAR, FULL, 'S'),
        {'B', GMM_FORM_GENERAL, GMM_STORED_FULL, 'M', 'N', 0, GMM_UPDATE_ALPHA})

/* Level 2 */
ROUTINE("gemv", "?gemv", "sdcz", "otMN*AX+Y", GEMV, 0, MATRIX('A', 'M', 'N', 0), VECTOR('X', 'X', READ),
        VECTOR('Y', 'Y', UPDATE_BETA))
ROUTINE("gbmv", "?gbmv", "sdcz", "otMNLU*AX+Y", GEMV, 0,
        {'A', GMM_FORM_GENERAL, GMM_STORED_BAND, 'M', 'N', 0, GMM_READ}, VECTOR('X', 'X', READ),
        VECTOR('Y', 'Y', UPDATE_BETA))
ROUTINE("symv", "?symv", "sd", "ouN*AX+Y", GEMV, 0, SQUARE('A', SYMMETRIC, FULL, 'N'), VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', UPDATE_BETA))
ROUTINE("hemv", "?hemv", "cz", "ouN*AX+Y", GEMV, 0, SQUARE('A', HERMITIAN, FULL, 'N'), VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', UPDATE_BETA))
ROUTINE("sbmv", "?sbmv", "sd", "ouNK*AX+Y", GEMV, 0, SQUARE('A', SYMMETRIC, BAND, 'N'), VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', UPDATE_BETA))
ROUTINE("hbmv", "?hbmv", "cz", "ouNK*AX+Y", GEMV, 0, SQUARE('A', HERMITIAN, BAND, 'N'), VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', UPDATE_BETA))
ROUTINE("spmv", "?spmv", "sd", "ouN*PX+Y", GEMV, 0, SQUARE('P', SYMMETRIC, PACKED, 'N'), VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', UPDATE_BETA))
ROUTINE("hpmv", "?hpmv", "cz", "ouN*PX+Y", GEMV, 0, SQUARE('P', HERMITIAN, PACKED, 'N'), VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', UPDATE_BETA))
ROUTINE("trmv", "?trmv", "sdcz", "outdNAX", TRIANGLE, 0, SQUARE('A', TRIANGULAR, FULL, 'N'), VECTOR('X', 'N', UPDATE))
ROUTINE("tbmv", "?tbmv", "sdcz", "outdNKAX", TRIANGLE, 0, SQUARE('A', TRIANGULAR, BAND, 'N'), VECTOR('X', 'N', UPDATE))
ROUTINE("tpmv", "?tpmv", "sdcz", "outdNPX", TRIANGLE, 0, SQUARE('P', TRIANGULAR, PACKED, 'N'), VECTOR('X', 'N', UPDATE))
ROUTINE("trsv", "?trsv", "sdcz", "outdNAX", SOLVE, 0, SQUARE('A', TRIANGULAR, FULL, 'N'), VECTOR('X', 'N', UPDATE))
ROUTINE("tbsv", "?tbsv", "sdcz", "outdNKAX", SOLVE, 0, SQUARE('A', TRIANGULAR, BAND, 'N'), VECTOR('X', 'N', UPDATE))
ROUTINE("tpsv", "?tpsv", "sdcz", "outdNPX", SOLVE, 0, SQUARE('P', TRIANGULAR, PACKED, 'N'), VECTOR('X', 'N', UPDATE))
ROUTINE("ger", "?ger", "sd", "oMN*XYA", RANK_1, 0, VECTOR('X', 'M', READ), VECTOR('Y', 'N', READ),
        UPDATED('A', GENERAL, FULL, 'M', 'N'))
ROUTINE("geru", "?geru", "cz", "oMN*XYA", RANK_1, 0, VECTOR('X', 'M', READ), VECTOR('Y', 'N', READ),
        UPDATED('A', GENERAL, FULL, 'M', 'N'))
ROUTINE("gerc", "?gerc", "cz", "oMN*XYA", RANK_1, CONJUGATES, VECTOR('X', 'M', READ), VECTOR('Y', 'N', READ),
        UPDATED('A', GENERAL, FULL, 'M', 'N'))
ROUTINE("syr", "?syr", "sd", "ouN*XA", RANK_1, 0, VECTOR('X', 'N', READ), UPDATED('A', SYMMETRIC, FULL, 'N', 'N'))
ROUTINE("her", "?her", "cz", "ouN*XA", RANK_1, CONJUGATES | REAL_ALPHA, VECTOR('X', 'N', READ),
        UPDATED('A', HERMITIAN, FULL, 'N', 'N'))
ROUTINE("spr", "?spr", "sd", "ouN*XP", RANK_1, 0, VECTOR('X', 'N', READ), UPDATED('P', SYMMETRIC, PACKED, 'N', 'N'))
ROUTINE("hpr", "?hpr", "cz", "ouN*XP", RANK_1, CONJUGATES | REAL_ALPHA, VECTOR('X', 'N', READ),
        UPDATED('P', HERMITIAN, PACKED, 'N', 'N'))
ROUTINE("syr2", "?syr2", "sd", "ouN*XYA", RANK_2, 0, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ),
        UPDATED('A', SYMMETRIC, FULL, 'N', 'N'))
ROUTINE("her2", "?her2", "cz", "ouN*XYA", RANK_2, CONJUGATES, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ),
        UPDATED('A', HERMITIAN, FULL, 'N', 'N'))
ROUTINE("spr2", "?spr2", "sd", "ouN*XYP", RANK_2, 0, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ),
        UPDATED('P', SYMMETRIC, PACKED, 'N', 'N'))
ROUTINE("hpr2", "?hpr2", "cz", "ouN*XYP", RANK_2, CONJUGATES, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ),
        UPDATED('P', HERMITIAN, PACKED, 'N', 'N'))

/* Level 1 */
ROUTINE("axpy", "?axpy", "sdcz", "N*XY", AXPY, 0, VECTOR('X', 'N', READ), VECTOR('Y', 'N', UPDATE))
ROUTINE("scal", "?scal", "sdcz", "N*X", SCAL, 0, VECTOR('X', 'N', UPDATE))
ROUTINE("rscal", "&scal", "cz", "N*X", SCAL, REAL_ALPHA, VECTOR('X', 'N', UPDATE))
ROUTINE("copy", "?copy", "sdcz", "NXY", COPY, 0, VECTOR('X', 'N', READ), VECTOR('Y', 'N', WRITE))
ROUTINE("swap", "?swap", "sdcz", "NXY", SWAP, 0, VECTOR('X', 'N', UPDATE), VECTOR('Y', 'N', UPDATE))
ROUTINE("dot", "?dot", "sd", "NXY", DOT, 0, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ))
ROUTINE("dotu", "?dotu_sub", "cz", "NXYR", DOT, COMPLEX_RESULT, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ))
ROUTINE("dotc", "?dotc_sub", "cz", "NXYR", DOT, COMPLEX_RESULT | CONJUGATES, VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', READ))
ROUTINE("nrm2", "%nrm2", "sdcz", "NX", NRM2, 0, VECTOR('X', 'N', READ))
ROUTINE("asum", "%asum", "sdcz", "NX", ASUM, 0, VECTOR('X', 'N', READ))
ROUTINE("iamax", "i?amax", "sdcz", "NX", IAMAX, 0, VECTOR('X', 'N', READ))
ROUTINE("rrot", "&rot", "cz", "NXY*+", ROT, REAL_ALPHA | REAL_BETA, VECTOR('X', 'N', UPDATE), VECTOR('Y', 'N', UPDATE))
ROUTINE("dotu_value", "?dotu", "cz", "NXY", DOT, COMPLEX_VALUE, VECTOR('X', 'N', READ), VECTOR('Y', 'N', READ))
ROUTINE("dotc_value", "?dotc", "cz", "NXY", DOT, COMPLEX_VALUE | CONJUGATES, VECTOR('X', 'N', READ),
        VECTOR('Y', 'N', READ)) /* Fortran's functions; OpenBLAS has them in CBLAS, too */
ROUTINE("rot", "?rot", "sd", "NXY*+", ROT, 0, VECTOR('X', 'N', UPDATE), VECTOR('Y', 'N', UPDATE))
ROUTINE("rotm", "?rotm", "sd", "NXYP", ROTM, 0, VECTOR('X', 'N', UPDATE), VECTOR('Y', 'N', UPDATE),
        FIXED('P', '5', READ))
ROUTINE("rotg", "?rotg", "sd", "PPPP", ROTG, 0, FIXED('A', '1', UPDATE), FIXED('B', '1', UPDATE),
        FIXED('C', '1', WRITE), FIXED('S', '1', WRITE))
/* d1, d2, x1, y1 (which is alpha here), and the parameters. */
ROUTINE("rotmg", "?rotmg", "sd", "PPP*P", ROTMG, 0, FIXED('D', '1', UPDATE), FIXED('E', '1', UPDATE),
        FIXED('X', '1', UPDATE), FIXED('P', '5', WRITE))
