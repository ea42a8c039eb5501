CREATE TABLE wide.multiranges (a int4multirange, b wide.money_multirange, c tstzmultirange[]);
